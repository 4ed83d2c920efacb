import { createHash } from 'node:crypto'
import { readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import * as z from 'zod'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import {
  exists,
  nameBeside,
  readTextIfAny,
  syncFolder,
  withTempDir,
  writeFileAtomic,
} from '../system/files.ts'
import { run } from '../system/process.ts'
import { MADE_FILES } from './key-files.ts'
import { recoverySheet } from './recovery-sheet.ts'
import { openingCommands, seal, unseal } from './sealed-file.ts'
import { isMemberName, packUstar, unpackUstar, type Member } from './ustar.ts'

/** what knox makes anew by itself, what is about this machine only, or a memory that would be a wrong one later */
const LEFT_OUT: readonly string[] = [
  KEY_FILES.sshConfig,
  KEY_FILES.knownHosts,
  KEY_FILES.card,
  'keys-backup.json',
  'deletions.json',
  'restoring.json',
  'unfinished-disk.json',
  'lock',
  'knox.log',
  'knox.log.1',
]
const LARGEST = 4 * 1024 * 1024

export const CONFIG_MEMBER = 'knox.yaml'
export const SHEET_MEMBER = 'READ-ME.txt'

/** The files of the key folder that belong in a backup, those of sub-folders with replaced keys too. */
const readFolder = async (folder: string): Promise<readonly Member[]> => {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const names = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .filter((name) => isMemberName(name) && !name.startsWith('.') && !LEFT_OUT.includes(name))
  return Promise.all(
    names.sort().map(async (name) => {
      const data = await readFile(join(folder, name))
      if (data.length > LARGEST)
        throw new KnoxError('config', `${join(folder, name)} is too large for a key folder`, [
          'move it elsewhere',
        ])
      return { name, data }
    }),
  )
}

/** One hash over what must not be lost: keys, certificates, GELI metadata. A receipt may change. */
const hashOfKeys = (members: readonly Member[]): string => {
  const hash = createHash('sha256')
  for (const { name, data } of members)
    if (MADE_FILES.includes(name) || name.startsWith('geli-metadata-') || name.includes('/'))
      hash.update(`${name}\0`).update(createHash('sha256').update(data).digest())
  return hash.digest('hex')
}

const recordSchema = z.object({ file: z.string(), madeAt: z.iso.datetime(), keys: z.string() })
const RECORD = 'keys-backup.json'

/** When and where the keys as they are now were backed up; undefined if they were not, or have changed since. */
export const lastKeysBackup = async (
  folder: string,
): Promise<{ readonly file: string; readonly madeAt: string } | undefined> => {
  const text = await readTextIfAny(join(folder, RECORD))
  if (text === undefined) return undefined
  try {
    const record = recordSchema.parse(JSON.parse(text))
    return record.keys === hashOfKeys(await readFolder(folder)) ? record : undefined
  } catch {
    return undefined
  }
}

/** Opens the file with the real openssl and tar, as the sheet says, and compares every byte. */
const openOnce = async (file: string, passphrase: Secret, members: readonly Member[]): Promise<void> => {
  const wrong = (why: string) =>
    new KnoxError('verification', 'the new file does not open as it should', [why, 'it was removed'])
  await withTempDir(async (dir) => {
    const [, open] = openingCommands(file, '-pass stdin')
    const line = 'cd "$1" && tar -xf "$2" && eval "$3"'
    const { exitCode, stderr } = await run(['/bin/sh', '-c', line, 'sh', dir, file, open], {
      stdin: passphrase,
    })
    if (exitCode === 127) throw new KnoxError('platform', 'openssl or tar is missing here', [stderr.trim()])
    if (exitCode !== 0) throw wrong(stderr.trim())
    for (const { name, data } of members)
      if (!(await readFile(join(dir, name))).equals(data)) throw wrong(`${name} is not what it was`)
  })
  const again = unpackUstar(unseal(await readFile(file), passphrase))
  if (!packUstar(again).equals(packUstar(members))) throw wrong('it holds something else')
}

export interface KeysBackup {
  readonly file: string
  /** the page for printing, beside it */
  readonly sheet: string
  readonly members: readonly string[]
  readonly commands: readonly [check: string, open: string]
}

export interface BackupKeysOptions {
  readonly boxName: string
  /** the text of knox.yaml goes in too */
  readonly config: string
  readonly out: string
  readonly passphrase: Secret
  readonly now: Date
  /** replace files that stand there */
  readonly force: boolean
}

/**
 * Makes one encrypted file of the key folder and a sheet for printing beside it, and opens it once with openssl and tar.
 * Throws `refused` if one of them is there already, `verification` if it does not open (then it is removed), `platform` without openssl.
 */
export const backupKeys = async (folder: string, options: BackupKeysOptions): Promise<KeysBackup> => {
  const { boxName, passphrase, now, force } = options
  const out = resolve(options.out)
  const sheet = `${out}.txt`
  if (`${dirname(out)}/`.startsWith(`${resolve(folder)}/`))
    throw new KnoxError('usage', 'a copy in the key folder itself would be lost with it', [
      'name another place, such as a USB stick',
    ])
  const files = await readFolder(folder)
  const missing = MADE_FILES.filter((name) => !files.some((file) => file.name === name))
  if (missing.length > 0)
    throw new KnoxError('config', `the key folder is not complete: ${missing.join(', ')} is missing`, [
      'knox keys list shows what is wrong',
    ])
  const page = recoverySheet({ boxName, folder, file: out, now, files })
  const members: readonly Member[] = [
    ...files,
    { name: CONFIG_MEMBER, data: Buffer.from(options.config) },
    { name: SHEET_MEMBER, data: Buffer.from(page) },
  ]
  for (const file of force ? [] : [out, sheet])
    if (await exists(file))
      throw new KnoxError('refused', `${file} exists already`, [
        `nothing was changed; --force replaces ${basename(out)} and ${basename(sheet)}`,
      ])
  // an older copy stays until the new one has been opened; by rename, since a stick's FAT knows no links
  const unproved = nameBeside(out)
  try {
    await writeFileAtomic(unproved, seal(packUstar(members), passphrase), { replace: true })
    await openOnce(unproved, passphrase, members)
    await writeFileAtomic(sheet, page, { replace: true, mode: 0o644 })
    await rename(unproved, out)
    await syncFolder(dirname(out))
  } catch (error) {
    await rm(unproved, { force: true })
    throw error
  }
  const record = { file: out, madeAt: now.toISOString(), keys: hashOfKeys(files) }
  await writeFileAtomic(join(folder, RECORD), `${JSON.stringify(record)}\n`, { replace: true })
  return { file: out, sheet, members: members.map(({ name }) => name), commands: openingCommands(out) }
}
