import { join } from 'node:path'
import type { Login } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { readPrivateFile } from './key-files.ts'
import { readPrivateKey, writePrivateKey } from './private-key.ts'

/** The owner's key folder: what other folders may use of provision/keys. */

export { backupKeys, lastKeysBackup } from './backup-keys.ts'
export type { BackupKeysOptions, KeysBackup } from './backup-keys.ts'
export { checkPassphrase, ensureKeyFolder, initKeys, planInit, problemOfPassphrase } from './init-keys.ts'
export type { InitOptions, InitPlan, InitReport } from './init-keys.ts'
export { requireKeys } from './key-files.ts'
export { listKeys } from './list-keys.ts'
export type { KeyKind, ListedCertificate, ListedKey } from './list-keys.ts'
export { openKeysBackup, restoreKeys } from './restore-keys.ts'
export type { OpenedBackup } from './restore-keys.ts'
export { planSigning, renewLogins, signLogins } from './sign-logins.ts'
export type { PlannedCertificate, SignOptions, SignPlanOptions } from './sign-logins.ts'
export { parseSourceAddress } from './source-address.ts'
export { FOREVER, formatEnd, parseValidity, validFor } from './validity.ts'
export type { Validity } from './validity.ts'

/**
 * The private key file of a login, decrypted: for the stdin of `ssh-add -`, never for a disk.
 * Throws `key-rejected` for a wrong passphrase, `config` if the file is missing, damaged or readable by others.
 */
export const unlockPrivateKey = async (folder: string, login: Login, passphrase: Secret): Promise<Secret> => {
  const file = await readPrivateFile(folder, login)
  return writePrivateKey(readPrivateKey(file, join(folder, login), passphrase))
}
