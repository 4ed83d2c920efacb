import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import type { Reader } from '../core/command.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import type { Disk } from '../tools/disk.ts'
import { readMetadata } from '../tools/geli.ts'

/**
 * A disk that knox has begun to prepare and not finished: after a power cut it holds half of what was to be made, and nothing of
 * the owner's. From its encryption on it is known by its GELI metadata, which no other disk has; before that by serial number and
 * size. One that holds data is never taken for it, whatever it was when it was begun.
 */

const schema = z.union([
  z.object({ metadata: z.string() }),
  z.object({ serial: z.string(), bytes: z.number() }),
])
type Marker = z.infer<typeof schema>

const fileOf = (folder: string) => join(folder, 'unfinished-disk.json')
const sumOf = (metadata: Buffer): string => createHash('sha256').update(metadata).digest('hex')

const write = (folder: string, marker: Marker): Promise<void> =>
  writeFileAtomic(fileOf(folder), `${JSON.stringify(marker)}\n`, { replace: true })

/** To be called right before the first change. A disk without a serial number gets no marker yet. */
export const beginDisk = async (folder: string, { serial, bytes }: Disk): Promise<void> => {
  if (serial !== undefined) await write(folder, { serial, bytes })
}

/** To be called when it has been encrypted. */
export const markEncrypted = (folder: string, metadata: Buffer): Promise<void> =>
  write(folder, { metadata: sumOf(metadata) })

/** To be called when it is finished. */
export const finishDisk = (folder: string): Promise<void> => rm(fileOf(folder), { force: true })

/** True if this is the disk that was begun; `reader` reads on the box. */
export const isUnfinished = async (reader: Reader, folder: string, disk: Disk): Promise<boolean> => {
  if (disk.contents === 'data') return false
  const text = await readTextIfAny(fileOf(folder))
  if (text === undefined) return false
  try {
    const begun = schema.parse(JSON.parse(text))
    if (!('metadata' in begun)) return begun.serial === disk.serial && begun.bytes === disk.bytes
    return disk.contents === 'geli' && sumOf(await reader.read(readMetadata(disk.name))) === begun.metadata
  } catch {
    return false
  }
}
