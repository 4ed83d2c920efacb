import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import type { Disk } from '../tools/disk.ts'

/**
 * A disk that knox has begun to prepare and not finished: after a power cut it holds half of what was to be made, and nothing of
 * the owner's. It is known again by serial number and size; one without a serial number is never taken for it.
 */

const schema = z.object({ serial: z.string(), bytes: z.number() })
const fileOf = (folder: string) => join(folder, 'unfinished-disk.json')

/** To be called when the owner has confirmed, and before anything is written. */
export const beginDisk = async (folder: string, { serial, bytes }: Disk): Promise<void> => {
  if (serial !== undefined)
    await writeFileAtomic(fileOf(folder), `${JSON.stringify({ serial, bytes })}\n`, { replace: true })
}

/** To be called when it is finished. */
export const finishDisk = (folder: string): Promise<void> => rm(fileOf(folder), { force: true })

/** True if this is the disk that was begun. */
export const isUnfinished = async (folder: string, { serial, bytes }: Disk): Promise<boolean> => {
  try {
    const begun = schema.parse(JSON.parse((await readTextIfAny(fileOf(folder))) ?? ''))
    return begun.serial === serial && begun.bytes === bytes
  } catch {
    return false
  }
}
