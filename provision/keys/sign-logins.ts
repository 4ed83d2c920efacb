import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES, LOGINS, type Login } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { exists } from '../system/files.ts'
import { makeKeyPair, type KeyPair } from './ed25519.ts'
import {
  certificateFile,
  publicFile,
  readCertificateFile,
  readPrivateFile,
  readPublicFile,
} from './key-files.ts'
import { noKeys } from './missing-keys.ts'
import { certificateOf, type Terms } from './login-certificate.ts'
import { loginKeyFiles } from './login-key.ts'
import { replaceFiles, type NewFile } from './place-files.ts'
import { readPrivateKey } from './private-key.ts'
import { FOREVER, type Validity } from './validity.ts'

export interface SignPlanOptions {
  /** default: all */
  readonly logins?: readonly Login[] | undefined
  /** default: always to forever */
  readonly validity?: Validity | undefined
  /** default: as in the certificate that is replaced; an empty list: from anywhere */
  readonly sourceAddress?: readonly string[] | undefined
  /** serial of the first certificate; default: the highest one in the folder, plus one */
  readonly serial?: bigint | undefined
}

export interface SignOptions extends SignPlanOptions {
  readonly passphrase: Secret
}

export interface PlannedCertificate extends Terms {
  readonly login: Login
  readonly file: string
}

/** A damaged certificate hides its serial and its restrictions, so it is not silently passed over. */
const readCertificates = async (folder: string) => {
  try {
    return await Promise.all(
      LOGINS.map(async (login) => ({ login, certificate: await readCertificateFile(folder, login) })),
    )
  } catch (error) {
    if (!(error instanceof KnoxError)) throw error
    throw new KnoxError('config', error.message, [...error.hints, 'move it away to sign without it'], {
      cause: error,
    })
  }
}

/** The certificates that signLogins and renewLogins would make; needs no passphrase and changes nothing. */
export const planSigning = async (
  folder: string,
  options: SignPlanOptions,
): Promise<readonly PlannedCertificate[]> => {
  if (!(await exists(join(folder, publicFile(KEY_FILES.ca))))) throw noKeys(folder)
  const old = await readCertificates(folder)
  const highest = old.reduce((most, { certificate }) => {
    const serial = certificate?.serial ?? 0n
    return serial > most ? serial : most
  }, 0n)
  const first = options.serial ?? highest + 1n
  return (options.logins ?? LOGINS).map((login, index) => {
    const before = old.find((one) => one.login === login)?.certificate
    return {
      login,
      file: certificateFile(login),
      serial: first + BigInt(index),
      validity: options.validity ?? FOREVER,
      sourceAddress: options.sourceAddress ?? before?.sourceAddress ?? [],
    }
  })
}

/** Opens the CA key. Throws `key-rejected` for a wrong passphrase, `config` if its .pub file is another key's. */
const openCa = async (folder: string, passphrase: Secret): Promise<KeyPair> => {
  const file = await readPrivateFile(folder, KEY_FILES.ca)
  const ca = readPrivateKey(file, join(folder, KEY_FILES.ca), passphrase)
  if (!ca.publicKey.equals(await readPublicFile(folder, KEY_FILES.ca)))
    throw new KnoxError(
      'config',
      `${KEY_FILES.ca} and ${publicFile(KEY_FILES.ca)} in ${folder} are not one key pair`,
    )
  return ca
}

/**
 * Issues new certificates for the keys that the logins have.
 * Throws `key-rejected` for a wrong passphrase, `config` for a file that is missing or damaged.
 */
export const signLogins = async (
  folder: string,
  options: SignOptions,
): Promise<readonly PlannedCertificate[]> => {
  const plan = await planSigning(folder, options)
  const ca = await openCa(folder, options.passphrase)
  const files = await Promise.all(
    plan.map(async (terms) =>
      certificateOf(terms.login, await readPublicFile(folder, terms.login), terms, ca),
    ),
  )
  await replaceFiles(folder, files)
  return plan
}

/** Makes new key pairs for the logins, and their certificates; otherwise as signLogins. */
export const renewLogins = async (
  folder: string,
  options: SignOptions,
): Promise<readonly PlannedCertificate[]> => {
  const plan = await planSigning(folder, options)
  const ca = await openCa(folder, options.passphrase)
  const files = plan.flatMap((terms): readonly NewFile[] => {
    const pair = makeKeyPair()
    return [
      ...loginKeyFiles(terms.login, pair, options.passphrase),
      certificateOf(terms.login, pair.publicKey, terms, ca),
    ]
  })
  await replaceFiles(folder, files)
  return plan
}
