import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Reader } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { unlock, wipeKeys } from '../geli/master-key.ts'
import { parseMetadata } from '../geli/metadata.ts'
import { readSecretFile, writeFileAtomic } from '../system/files.ts'
import type { Disk } from '../tools/disk.ts'
import { geliProviders, holdsPool, readMetadata } from '../tools/geli.ts'

/** A disk that was prepared with the keys of this folder is the box's own, whatever its name is by now: its GELI metadata tell. */

const PREFIX = 'geli-metadata-'

/** The copy of a disk's GELI metadata in the key folder. */
export const metadataFile = (disk: string): string => `${PREFIX}${disk.replaceAll('/', '-')}.bin`

/** Keeps the copy. That of another disk which had this name, such as one that is home's by now, stays beside it. */
export const keepMetadata = async (folder: string, disk: string, metadata: Buffer): Promise<void> => {
  const path = join(folder, metadataFile(disk))
  const earlier = await readFile(path).catch(() => undefined)
  if (earlier !== undefined && !earlier.equals(metadata))
    await rename(path, `${path}.before-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')}`)
  await writeFileAtomic(path, metadata, { replace: true })
}

const isKept = async (folder: string, metadata: Buffer): Promise<boolean> => {
  const names = (await readdir(folder)).filter((name) => name.startsWith(PREFIX))
  const kept = await Promise.all(names.map((name) => readFile(join(folder, name))))
  return kept.some((copy) => copy.equals(metadata))
}

/** How all of a disk that is the box's own can be lost: never by knox. */
export const howToLose = (disk: string): string =>
  `if all of it may be lost: geli clear ${disk} as root on the box, then knox prepare-disk --erase`

const isOpenedBy = async (key: Secret, metadata: Buffer, disk: string): Promise<boolean> => {
  try {
    wipeKeys(await unlock(parseMetadata(metadata), { keyFiles: [key.reveal()] }))
    return true
  } catch (error) {
    if (!(error instanceof KnoxError)) throw error
    if (error.code === 'key-rejected') return false
    const { code, message, hints } = error
    throw new KnoxError(code, `it cannot be told whether ${disk} is the box’s own: ${message}`, [
      ...hints,
      howToLose(disk),
    ])
  }
}

/**
 * The GELI metadata of a disk that is the box's own: they are one of the copies in the key folder, or geli.key opens them. undefined for
 * any other disk. Nothing is done to it. Throws `config` without geli.key, `verification` or `platform` for metadata that cannot be read.
 */
export const ownMetadata = async (
  reader: Reader,
  folder: string,
  { name, contents, inUse }: Disk,
): Promise<Buffer | undefined> => {
  if (contents !== 'geli' || inUse) return undefined
  const metadata = await reader.read(readMetadata(name))
  if (await isKept(folder, metadata)) return metadata
  const key = await readSecretFile(join(folder, KEY_FILES.disk), 'disk key')
  return (await isOpenedBy(key, metadata, name)) ? metadata : undefined
}

/** The error for a disk that may not have been locked. */
export const stillAttached = (disk: string, cause: unknown): KnoxError =>
  new KnoxError(
    'left-unlocked',
    `the disk ${disk} may still be attached on the box`,
    ['switch the box off and on again'],
    { cause },
  )

/**
 * True if geli.key opens this disk, which is not in use, and its pool can be imported; nothing is written to it, and it is locked again.
 * Throws `key-rejected` for another key, `left-unlocked` if the box did not lock it.
 */
export const hasPool = async (
  reader: Reader,
  folder: string,
  { name }: Disk,
  pool: string,
): Promise<boolean> => {
  const key = await readSecretFile(join(folder, KEY_FILES.disk), 'disk key')
  try {
    return await reader.read(holdsPool(name, pool, key))
  } catch (error) {
    const attached = await reader.read(geliProviders).catch((): readonly string[] => [])
    throw attached.includes(`${name}.eli`) ? stillAttached(name, error) : error
  }
}
