import { FORCED_COMMANDS, type Login } from '../core/keys.ts'
import { certificateLine, signCertificate, type Certificate } from './certificate.ts'
import type { KeyPair } from './ed25519.ts'
import { certificateFile } from './key-files.ts'
import type { NewFile } from './place-files.ts'
import { FOREVER, type Validity } from './validity.ts'

export interface Terms {
  readonly serial: bigint
  readonly validity: Validity
  readonly sourceAddress: readonly string[]
}

/** The terms of a login's first certificate: always, from anywhere. */
export const firstTerms = (serial: bigint): Terms => ({ serial, validity: FOREVER, sourceAddress: [] })

/**
 * What the certificate of a login says. knox-shell may have a terminal; the other two are `clear` with one forced
 * command. The key ID is the login's name: it stands in the box's log, and revokes all certificates of that login.
 */
export const loginCertificate = (login: Login, publicKey: Buffer, terms: Terms): Certificate => ({
  ...terms,
  publicKey,
  keyId: login,
  principals: ['root'],
  forcedCommand: FORCED_COMMANDS[login],
  extensions: FORCED_COMMANDS[login] === undefined ? ['permit-pty'] : [],
})

/** The signed certificate of a login as a file of the key folder. */
export const certificateOf = (login: Login, publicKey: Buffer, terms: Terms, ca: KeyPair): NewFile => ({
  name: certificateFile(login),
  data: certificateLine(signCertificate(loginCertificate(login, publicKey, terms), ca), login),
})
