import { randomBytes } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES, LOGINS } from '../core/keys.ts'
import { checkName, NAMES } from '../core/names.ts'
import { Secret } from '../core/secret.ts'
import { ensurePrivateDir, exists } from '../system/files.ts'
import { makeKeyPair } from './ed25519.ts'
import { fingerprint } from './public-key.ts'
import { MADE_FILES } from './key-files.ts'
import { certificateOf, firstTerms } from './login-certificate.ts'
import { keyPairFiles, loginKeyFiles } from './login-key.ts'
import { moveAside, moveBack, placeNewFiles, type NewFile } from './place-files.ts'

const LEAST_CHARACTERS = 8
const DISK_KEY_LENGTH = 1024

/** What is wrong with a new passphrase; undefined if nothing is. */
export const problemOfPassphrase = (text: string): string | undefined =>
  Array.from(text).length < LEAST_CHARACTERS
    ? `the passphrase is shorter than ${LEAST_CHARACTERS} characters`
    : undefined

/** Throws `usage` for a passphrase of less than 8 characters. */
export const checkPassphrase = (passphrase: Secret): void => {
  const problem = problemOfPassphrase(passphrase.reveal().toString())
  if (problem !== undefined)
    throw new KnoxError('usage', problem, ['nothing was changed; a few words make a good one'])
}

export interface InitPlan {
  /** files that will be made */
  readonly files: readonly string[]
  /** files that stand there and will be moved aside */
  readonly replaced: readonly string[]
}

/** True for what tells of a disk or a card that was made with the keys beside it. */
const isMadeWithKeys = (name: string): boolean => name === KEY_FILES.card || name.startsWith('geli-metadata-')

/** What initKeys would do. Throws `refused` if a file exists and `force` is not given; changes nothing. */
export const planInit = async (folder: string, force: boolean): Promise<InitPlan> => {
  const found = await Promise.all(MADE_FILES.map((name) => exists(join(folder, name))))
  const replaced = MADE_FILES.filter((_, index) => found[index])
  const last = MADE_FILES.at(-1) ?? ''
  if (replaced.length > 0 && !force)
    throw new KnoxError('refused', `there are keys in ${folder} already: ${replaced.join(', ')}`, [
      'nothing was changed',
      ...(replaced.includes(last)
        ? []
        : [
            `${last} is missing, which is made last: if an init was cut off, nothing was prepared with these yet, and knox keys init --force begins anew`,
            'was it lost later? knox keys restore FILE brings it back',
          ]),
      '--force makes new ones and keeps these in a sub-folder; the box and its disk still need these',
    ])
  const more = replaced.length === 0 ? [] : (await readdir(folder)).filter(isMadeWithKeys).sort()
  return { files: MADE_FILES, replaced: [...replaced, ...more] }
}

export interface InitOptions {
  readonly boxName: string
  readonly passphrase: Secret
  /** move keys that exist to a sub-folder instead of refusing */
  readonly force: boolean
  readonly now: Date
}

export interface InitReport {
  readonly files: readonly string[]
  /** the sub-folder that now holds the files that stood there before */
  readonly replaced: string | undefined
  readonly caFingerprint: string
  readonly hostKeyFingerprint: string
}

/** All the files of a new key folder, in the order of MADE_FILES. */
const makeFiles = (boxName: string, passphrase: Secret) => {
  const ca = makeKeyPair()
  const hostKey = makeKeyPair()
  const logins = LOGINS.flatMap((login, index) => {
    const pair = makeKeyPair()
    return [
      ...loginKeyFiles(login, pair, passphrase),
      certificateOf(login, pair.publicKey, firstTerms(BigInt(index + 1)), ca),
    ]
  })
  const files: readonly NewFile[] = [
    ...keyPairFiles(KEY_FILES.ca, ca, KEY_FILES.ca, passphrase),
    ...logins,
    { name: KEY_FILES.disk, data: new Secret('disk key', randomBytes(DISK_KEY_LENGTH)) },
    ...keyPairFiles(KEY_FILES.hostKey, hostKey, `root@${boxName}`),
  ]
  return {
    files,
    caFingerprint: fingerprint(ca.publicKey),
    hostKeyFingerprint: fingerprint(hostKey.publicKey),
  }
}

/** Makes the folder (0700) if there is none; throws `config` if others may enter the one that is there. */
export const ensureKeyFolder = async (folder: string): Promise<void> => {
  await ensurePrivateDir(folder)
  if (((await stat(folder)).mode & 0o077) !== 0)
    throw new KnoxError('config', `others may enter the key folder ${folder}`, [`chmod 700 ${folder}`])
}

/**
 * Makes every key of a box in the owner's folder: the CA key, the host key, three logins with certificates and
 * serials 1 to 3, and the disk key for geli(8). All files are 0600, and either all of them appear or none.
 * Throws `usage` for a short passphrase, `refused` if a file exists and `force` is not given. With `force`, what
 * stands there is moved to `replaced-<UTC time>`: the old disk key may be the only one that opens the disk.
 */
export const initKeys = async (folder: string, options: InitOptions): Promise<InitReport> => {
  checkPassphrase(options.passphrase)
  const boxName = checkName(NAMES.box, options.boxName)
  const plan = await planInit(folder, options.force)
  await ensureKeyFolder(folder)
  const { files, caFingerprint, hostKeyFingerprint } = makeFiles(boxName, options.passphrase)

  const aside = plan.replaced.length === 0 ? undefined : `replaced-${options.now.toISOString()}`
  if (aside !== undefined) await moveAside(folder, plan.replaced, aside)
  try {
    await placeNewFiles(folder, files)
  } catch (error) {
    if (aside !== undefined) await moveBack(folder, plan.replaced, aside)
    throw error
  }
  const replaced = aside === undefined ? undefined : join(folder, aside)
  return { files: plan.files, replaced, caFingerprint, hostKeyFingerprint }
}
