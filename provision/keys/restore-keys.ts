import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError, messageOf } from '../core/errors.ts'
import { KEY_FILES } from '../core/keys.ts'
import { Secret } from '../core/secret.ts'
import { exists } from '../system/files.ts'
import { CONFIG_MEMBER, SHEET_MEMBER } from './backup-keys.ts'
import { ensureKeyFolder } from './init-keys.ts'
import { placeNewFiles } from './place-files.ts'
import { unseal } from './sealed-file.ts'
import { unpackUstar, type Member } from './ustar.ts'

const LARGEST = 256 * 1024 * 1024

export interface OpenedBackup {
  /** the text of knox.yaml */
  readonly config: string
  readonly files: readonly Member[]
}

/** Opens a file of `keys backup`. Throws `key-rejected` for a wrong passphrase, `verification` for a damaged file. */
export const openKeysBackup = async (file: string, passphrase: Secret): Promise<OpenedBackup> => {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new KnoxError('config', `${file} cannot be read: ${messageOf(error)}`)
  })
  if (bytes.length > LARGEST) throw new KnoxError('verification', `${file} is too large for a backup of keys`)
  const members = unpackUstar(unseal(bytes, passphrase))
  const config = members.find(({ name }) => name === CONFIG_MEMBER)?.data.toString()
  const files = members.filter(({ name }) => name !== CONFIG_MEMBER && name !== SHEET_MEMBER)
  if (config === undefined || !files.some(({ name }) => name === KEY_FILES.disk))
    throw new KnoxError('verification', `${file} holds no keys of a box`)
  return { config, files }
}

/** True if the file is there with these bytes. Throws `refused` if something else has its name. */
const stands = async (path: string, data: Buffer): Promise<boolean> => {
  if (!(await exists(path))) return false
  const found = await readFile(path).catch(() => undefined)
  if (found?.equals(data) === true) return true
  throw new KnoxError('refused', `${path} exists already, and is not what the backup holds`, [
    'nothing was changed; --to DIR puts the keys into another folder',
  ])
}

/**
 * Puts the files into a key folder (0700, files 0600); one that is there already with the same bytes stays, so that a run that
 * was cut off can be repeated. Throws `refused` if one of them is there with others: nothing is replaced.
 */
export const restoreKeys = async (folder: string, backup: readonly Member[]): Promise<void> => {
  await ensureKeyFolder(folder)
  const files: Member[] = []
  for (const file of backup) if (!(await stands(join(folder, file.name), file.data))) files.push(file)
  const folders = [...new Set(files.map(({ name }) => name.split('/').slice(0, -1).join('/')))]
  // the top last: where its files stand, all others do
  for (const below of folders.sort().reverse()) {
    const inside = files.filter(({ name }) => name.split('/').slice(0, -1).join('/') === below)
    const target = join(folder, below)
    await mkdir(target, { recursive: true, mode: 0o700 })
    const news = inside.map(({ name, data }) => ({
      name: name.split('/').at(-1) ?? name,
      data: new Secret(name, data),
    }))
    await placeNewFiles(target, news)
  }
}
