import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { FORCED_COMMANDS, KEY_FILES, LOGINS, type Login } from '../core/keys.ts'
import { Secret } from '../core/secret.ts'
import { readCertificateLine, type SignedCertificate } from './certificate.ts'
import { fingerprint, readPublicKeyLine } from './public-key.ts'
import { certificateFile, publicFile, readPublicFile } from './key-files.ts'
import { noKeys } from './missing-keys.ts'
import { inspectPrivateKey } from './private-key.ts'
import { formatEnd, isExpired } from './validity.ts'

export type KeyKind = 'folder' | 'private-key' | 'public-key' | 'certificate' | 'disk-key'

/** A certificate in values that JSON can hold. */
export interface ListedCertificate {
  readonly keyId: string
  /** in decimal: a uint64 */
  readonly serial: string
  readonly principals: readonly string[]
  /** a time in UTC, or `always` */
  readonly validAfter: string
  /** a time in UTC, or `forever` */
  readonly validBefore: string
  readonly forcedCommand: string | undefined
  readonly sourceAddress: readonly string[]
  readonly extensions: readonly string[]
}

export interface ListedKey {
  /** its name in the folder; `./` is the folder itself */
  readonly file: string
  readonly kind: KeyKind
  readonly missing: boolean
  /** others than the owner may read or write it */
  readonly tooOpen: boolean
  readonly fingerprint: string | undefined
  /** of a private key: whether it has a passphrase */
  readonly encrypted: boolean | undefined
  readonly certificate: ListedCertificate | undefined
  /** what is wrong with it, in sentences; empty if it is as it should be */
  readonly problems: readonly string[]
}

type Details = Partial<Pick<ListedKey, 'fingerprint' | 'encrypted' | 'certificate'>> & {
  readonly problems?: readonly string[]
}

type Describe = (bytes: Buffer, path: string) => Details | Promise<Details>

const DISK_KEY_LEAST = 64

const FACTS = { fingerprint: undefined, encrypted: undefined, certificate: undefined }

/** One file: whether it is there and private, and what `describe` reads in it. */
const listFile = async (
  folder: string,
  file: string,
  kind: KeyKind,
  describe: Describe,
): Promise<ListedKey> => {
  const path = join(folder, file)
  const info = await stat(path).catch(() => undefined)
  if (info === undefined)
    return { file, kind, missing: true, tooOpen: false, ...FACTS, problems: ['it is missing'] }
  const tooOpen = (info.mode & 0o077) !== 0
  const open = tooOpen ? ['others may read it'] : []
  try {
    const { problems = [], ...facts } = await describe(await readFile(path), path)
    return { file, kind, missing: false, tooOpen, ...FACTS, ...facts, problems: [...open, ...problems] }
  } catch (error) {
    if (!(error instanceof KnoxError)) throw error
    return { file, kind, missing: false, tooOpen, ...FACTS, problems: [...open, error.message] }
  }
}

const privateKey = (folder: string, name: string): Promise<ListedKey> =>
  listFile(folder, name, 'private-key', (bytes, path) => {
    const { publicKey, encrypted } = inspectPrivateKey(new Secret('private key file', bytes), path)
    const wanted = name === KEY_FILES.ca || name === 'knox-shell'
    const problems = wanted && !encrypted ? ['it has no passphrase'] : []
    return { fingerprint: fingerprint(publicKey), encrypted, problems }
  })

const publicKey = (folder: string, name: string): Promise<ListedKey> =>
  listFile(folder, publicFile(name), 'public-key', async (bytes, path) => {
    const key = readPublicKeyLine(bytes.toString(), path)
    const file = new Secret('private key file', await readFile(join(folder, name)).catch(() => ''))
    const own = file.reveal().length === 0 || inspectPrivateKey(file, name).publicKey.equals(key)
    return { fingerprint: fingerprint(key), problems: own ? [] : [`it does not belong to ${name}`] }
  })

/** What would keep the box from letting this certificate in, or lets in more than it should. */
const problemsOf = async (
  folder: string,
  login: Login,
  certificate: SignedCertificate,
  now: Date,
): Promise<readonly string[]> => {
  const ca = await readPublicFile(folder, KEY_FILES.ca).catch(() => undefined)
  const own = await readPublicFile(folder, login).catch(() => undefined)
  const findings: readonly (readonly [boolean, string])[] = [
    [ca !== undefined && !ca.equals(certificate.caKey), `it is not signed by ${KEY_FILES.ca}`],
    [own !== undefined && !own.equals(certificate.publicKey), `it does not belong to ${login}`],
    [isExpired(certificate.validity, now), `it expired at ${formatEnd(certificate.validity.before)}`],
    [!certificate.principals.includes('root'), 'root is not among its principals'],
    [
      certificate.forcedCommand !== FORCED_COMMANDS[login],
      `its forced command is not ${FORCED_COMMANDS[login] ?? 'absent'}`,
    ],
  ]
  return findings.flatMap(([wrong, text]) => (wrong ? [text] : []))
}

const certificate = (folder: string, login: Login, now: Date): Promise<ListedKey> =>
  listFile(folder, certificateFile(login), 'certificate', async (bytes, path) => {
    const found = readCertificateLine(bytes.toString(), path)
    const { keyId, serial, principals, validity, forcedCommand, sourceAddress, extensions } = found
    return {
      fingerprint: fingerprint(found.publicKey),
      certificate: {
        keyId,
        serial: serial.toString(),
        principals,
        validAfter: formatEnd(validity.after),
        validBefore: formatEnd(validity.before),
        forcedCommand,
        sourceAddress,
        extensions,
      },
      problems: await problemsOf(folder, login, found, now),
    }
  })

const diskKey = (folder: string): Promise<ListedKey> =>
  listFile(folder, KEY_FILES.disk, 'disk-key', (bytes) => ({
    problems: bytes.length < DISK_KEY_LEAST ? [`it holds only ${bytes.length} bytes`] : [],
  }))

/**
 * The key folder and every file that `keys init` makes, as they stand now; needs no passphrase.
 * Throws `config` if the folder holds none of them.
 */
export const listKeys = async (folder: string, now: Date = new Date()): Promise<readonly ListedKey[]> => {
  const info = await stat(folder).catch(() => undefined)
  if (info === undefined) throw noKeys(folder)
  const keys = await Promise.all([
    privateKey(folder, KEY_FILES.ca),
    publicKey(folder, KEY_FILES.ca),
    privateKey(folder, KEY_FILES.hostKey),
    publicKey(folder, KEY_FILES.hostKey),
    ...LOGINS.flatMap((login) => [
      privateKey(folder, login),
      publicKey(folder, login),
      certificate(folder, login, now),
    ]),
    diskKey(folder),
  ])
  if (keys.every(({ missing }) => missing)) throw noKeys(folder)
  const open = (info.mode & 0o077) !== 0
  const problems = open ? ['others may enter it'] : []
  return [{ file: './', kind: 'folder', missing: false, tooOpen: open, ...FACTS, problems }, ...keys]
}
