import { createHash } from 'node:crypto'
import { open, rename, rm, statfs, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatBytes } from '../core/sizes.ts'
import { CHUNK, splitZeros } from './chunks.ts'
import { checkStopped } from './drive-io.ts'
import { progressOf } from './flash.ts'
import type { ImageSource } from './source.ts'

/** Image files in the making: under another name until they are whole and on the disk, with holes for zeros. */

/** bytes of zeros that become a hole */
const HOLE = 64 * 1024

const SECTOR = 512

/** The name of a file that is not finished; what a killed run left there is overwritten. */
export const unfinished = (path: string): string => join(dirname(path), `.${basename(path)}.part`)

/** What the system says to a write, in knox's words. */
export const writeError = (error: unknown, path: string): unknown => {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG')
    return new KnoxError('no-space', `there is no room for ${path} (${code})`, ['nothing was left behind'], {
      cause: error,
    })
  return error
}

/** Throws `no-space` if the folder's file system has fewer bytes free than the file will have at most, `config` if there is none. */
export const checkRoom = async (path: string, bytes: number): Promise<void> => {
  const { bavail, bsize } = await statfs(dirname(path)).catch(() => {
    throw new KnoxError('config', `there is no folder ${dirname(path)}`, ['nothing was changed'])
  })
  if (bavail * bsize < bytes)
    throw new KnoxError(
      'no-space',
      `${path} needs up to ${formatBytes(bytes)}, and there are ${formatBytes(bavail * bsize)} free`,
      ['nothing was changed; a hole in an image that cannot be filled later would break its file system'],
    )
}

/**
 * Writes a file of mode 0600 under its unfinished name, syncs it, and gives it its own name by `finish`. If the work
 * fails nothing is left, and what stood under the name before stays.
 */
export const makeFile = async <T>(
  path: string,
  work: (file: FileHandle) => Promise<T>,
): Promise<{
  readonly value: T
  readonly finish: () => Promise<void>
  readonly discard: () => Promise<void>
}> => {
  const temporary = unfinished(path)
  const discard = () => rm(temporary, { force: true })
  await discard()
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      const value = await work(file)
      await file.sync()
      return { value, finish: () => rename(temporary, path), discard }
    } finally {
      await file.close()
    }
  } catch (error) {
    await discard()
    throw writeError(error, path)
  }
}

/** Writes the source's bytes into the file, without its zeros; returns their SHA-256 in hex. */
export const copyInto = async (
  file: FileHandle,
  source: Pick<ImageSource, 'bytes' | 'chunks' | 'path'>,
  { emit, signal, what }: { readonly emit: Emit; readonly signal: AbortSignal; readonly what: string },
): Promise<string> => {
  if (source.bytes % SECTOR !== 0)
    throw new KnoxError('config', `the image does not end with a whole sector: ${source.path}`, [
      'it was cut off: build or fetch it again',
    ])
  const hash = createHash('sha256')
  const tell = progressOf(emit, what)
  let offset = 0
  for await (const chunk of source.chunks([Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)])) {
    checkStopped(signal)
    hash.update(chunk)
    for (const { from, to } of splitZeros(chunk, HOLE).data)
      for (let at = from; at < to;) at += (await file.write(chunk, at, to - at, offset + at)).bytesWritten
    offset += chunk.length
    tell(offset, source.bytes)
  }
  await file.truncate(source.bytes)
  return hash.digest('hex')
}
