import { randomBytes } from 'node:crypto'
import { readdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { FORCED_COMMANDS, KEY_FILES, LOGINS, type Login } from '../core/keys.ts'
import { Secret } from '../core/secret.ts'
import { ensurePrivateDir, exists, readSecretFile, readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { parseCertificate, signCertificate } from './certificate.ts'
import { generateKeyPair, parsePublicKeyLine, publicKeyLine, type KeyPair } from './ed25519.ts'
import { readPrivateKey, writePrivateKey } from './private-key.ts'

/** The owner's key folder: 0700, every file in it 0600. */

const DISK_KEY_BYTES = 1024
const SHORTEST_PASSPHRASE = 8

export interface SignOptions {
  /** undefined: for ever */
  readonly validUntil?: Date | undefined
  /** CIDR list that the passwordless logins may come from */
  readonly sourceAddress?: string | undefined
}

type Files = readonly (readonly [string, string | Secret | Buffer])[]

const certificateFile = (login: Login): string => `${login}-cert.pub`

const checkPassphrase = (passphrase: Secret): void => {
  if (passphrase.reveal().toString('utf8').length < SHORTEST_PASSPHRASE)
    throw new KnoxError('usage', `the passphrase is shorter than ${SHORTEST_PASSPHRASE} characters`)
}

const certify = (
  login: Login,
  publicKey: Buffer,
  authority: KeyPair,
  serial: bigint,
  options: SignOptions,
): string => {
  const forcedCommand = FORCED_COMMANDS[login]
  const sourceAddress = options.sourceAddress
  const { validUntil } = options
  return signCertificate(
    { publicKey, serial, keyId: login, principals: ['root'], validUntil, forcedCommand, sourceAddress },
    authority,
    login,
  )
}

const loginFiles = (
  login: Login,
  passphrase: Secret,
  authority: KeyPair,
  serial: bigint,
  options: SignOptions,
): Files => {
  const pair = generateKeyPair()
  // the others are for cron: no passphrase, but one forced command
  const seal = FORCED_COMMANDS[login] === undefined ? passphrase : undefined
  return [
    [login, writePrivateKey(pair, login, seal)],
    [`${login}.pub`, publicKeyLine(pair.publicKey, login)],
    [certificateFile(login), certify(login, pair.publicKey, authority, serial, options)],
  ]
}

const writeAll = async (folder: string, files: Files, replace: boolean): Promise<void> => {
  for (const [name, content] of files) await writeFileAtomic(join(folder, name), content, { replace })
}

/** The files that `initKeys` makes. */
export const initialFiles: readonly string[] = [
  KEY_FILES.ca,
  `${KEY_FILES.ca}.pub`,
  KEY_FILES.hostKey,
  `${KEY_FILES.hostKey}.pub`,
  KEY_FILES.disk,
  ...LOGINS.flatMap((login) => [login, `${login}.pub`, certificateFile(login)]),
]

/** Moves the files of an earlier init into a folder of their own; nothing that opens a disk is ever deleted. */
const setAside = async (folder: string, present: readonly string[], now: Date): Promise<void> => {
  const aside = join(folder, `replaced-${now.toISOString()}`)
  await ensurePrivateDir(aside)
  for (const name of present) await rename(join(folder, name), join(aside, name))
}

/**
 * Makes all keys of a box: authority, host key, three logins with certificates, the disk's key file.
 * Writes all or nothing: throws `refused` if any of the files is there, unless `force`, which moves them aside.
 */
export const initKeys = async (
  folder: string,
  boxName: string,
  passphrase: Secret,
  options: SignOptions & { readonly force: boolean; readonly now: Date },
): Promise<void> => {
  checkPassphrase(passphrase)
  await ensurePrivateDir(folder)
  const there = new Set(await readdir(folder))
  const present = initialFiles.filter((name) => there.has(name))
  if (present.length > 0 && !options.force)
    throw new KnoxError('refused', `there are keys in ${folder} already (${present.join(', ')})`, [
      'nothing was changed; --force makes new ones and keeps these in a folder beside them',
      'a disk that was prepared with these keys opens with these only',
    ])
  const authority = generateKeyPair()
  const host = generateKeyPair()
  const files: Files = [
    [KEY_FILES.ca, writePrivateKey(authority, KEY_FILES.ca, passphrase)],
    [`${KEY_FILES.ca}.pub`, publicKeyLine(authority.publicKey, `${KEY_FILES.ca} of ${boxName}`)],
    [KEY_FILES.hostKey, writePrivateKey(host, `root@${boxName}`)],
    [`${KEY_FILES.hostKey}.pub`, publicKeyLine(host.publicKey, `root@${boxName}`)],
    ...LOGINS.flatMap((login, index) => loginFiles(login, passphrase, authority, BigInt(index + 1), options)),
    [KEY_FILES.disk, new Secret('disk key', randomBytes(DISK_KEY_BYTES))],
  ]
  if (present.length > 0) await setAside(folder, present, options.now)
  await writeAll(folder, files, false)
}

const readKey = async (folder: string, name: string, passphrase: Secret | undefined): Promise<KeyPair> =>
  readPrivateKey(await readSecretFile(join(folder, name), `key ${name}`), passphrase)

/** One more than the highest serial of the certificates that are there. */
const nextSerial = async (folder: string): Promise<bigint> => {
  let highest = 0n
  for (const login of LOGINS) {
    const line = await readTextIfAny(join(folder, certificateFile(login)))
    if (line === undefined) continue
    const { serial } = parseCertificate(line)
    if (serial > highest) highest = serial
  }
  return highest + 1n
}

/** Signs new certificates for the keys that the logins have. Throws `key-rejected` for a wrong passphrase. */
export const signLogins = async (
  folder: string,
  logins: readonly Login[],
  passphrase: Secret,
  options: SignOptions,
): Promise<void> => {
  const authority = await readKey(folder, KEY_FILES.ca, passphrase)
  let serial = await nextSerial(folder)
  const files: (readonly [string, string])[] = []
  for (const login of logins) {
    const line = await readTextIfAny(join(folder, `${login}.pub`))
    if (line === undefined)
      throw new KnoxError('config', `there is no key ${login} in ${folder}`, ['knox keys init'])
    files.push([certificateFile(login), certify(login, parsePublicKeyLine(line), authority, serial, options)])
    serial += 1n
  }
  await writeAll(folder, files, true)
}

/** Makes new keys and certificates for the logins; the authority, the host key and the disk's key stay. */
export const renewLogins = async (
  folder: string,
  logins: readonly Login[],
  passphrase: Secret,
  options: SignOptions,
): Promise<void> => {
  const authority = await readKey(folder, KEY_FILES.ca, passphrase)
  // knox-shell must stay open to the same passphrase
  await readKey(folder, 'knox-shell', passphrase)
  const serial = await nextSerial(folder)
  const files = logins.flatMap((login, index) =>
    loginFiles(login, passphrase, authority, serial + BigInt(index), options),
  )
  await writeAll(folder, files, true)
}

/** A login's private key without its passphrase, for `ssh-add -`. Throws `key-rejected` for a wrong passphrase. */
export const unlockPrivateKey = async (folder: string, login: Login, passphrase: Secret): Promise<Secret> => {
  const pair = await readKey(folder, login, passphrase)
  return writePrivateKey(pair, login)
}

/** Names of files in the folder that are missing, or that others may read. */
export const folderProblems = async (folder: string): Promise<readonly string[]> => {
  const problems: string[] = []
  for (const name of initialFiles) {
    const path = join(folder, name)
    if (!(await exists(path))) problems.push(`${name} is missing`)
    else if (((await stat(path)).mode & 0o077) !== 0)
      problems.push(`${name} can be read by others: chmod 600 ${path}`)
  }
  return problems
}
