import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES, LOGINS, type Login } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { exists, readSecretFile, readTextIfAny } from '../system/files.ts'
import { readCertificateLine, type SignedCertificate } from './certificate.ts'
import { noKeys } from './missing-keys.ts'
import { readPublicKeyLine } from './public-key.ts'

/** Which files stand in the key folder, and how one is read. */

/** The public part beside a private key. */
export const publicFile = (name: string): string => `${name}.pub`

/** The certificate of a login, where ssh(1) looks for it by itself. */
export const certificateFile = (login: Login): string => `${login}-cert.pub`

/** Every file that `keys init` makes. The host key's public part comes last: where it stands, all the others do. */
export const MADE_FILES: readonly string[] = [
  KEY_FILES.ca,
  publicFile(KEY_FILES.ca),
  ...LOGINS.flatMap((login) => [login, publicFile(login), certificateFile(login)]),
  KEY_FILES.disk,
  KEY_FILES.hostKey,
  publicFile(KEY_FILES.hostKey),
]

/** A private key file; throws `config` if it is missing or others may read it. */
export const readPrivateFile = (folder: string, name: string): Promise<Secret> =>
  readSecretFile(join(folder, name), `private key of ${name}`)

/** The public key of a key; throws `config` if its .pub file is missing or damaged. */
export const readPublicFile = async (folder: string, name: string): Promise<Buffer> => {
  const path = join(folder, publicFile(name))
  const text = await readTextIfAny(path)
  if (text === undefined) throw new KnoxError('config', `the public key is missing: ${path}`)
  return readPublicKeyLine(text, path)
}

/** The certificate of a login, undefined if there is none; throws `config` if it is damaged. */
export const readCertificateFile = async (
  folder: string,
  login: Login,
): Promise<SignedCertificate | undefined> => {
  const path = join(folder, certificateFile(login))
  const text = await readTextIfAny(path)
  return text === undefined ? undefined : readCertificateLine(text, path)
}

/** Throws `config` if there are no keys in the folder. */
export const requireKeys = async (folder: string): Promise<void> => {
  if (!(await exists(join(folder, publicFile(KEY_FILES.hostKey))))) throw noKeys(folder)
}
