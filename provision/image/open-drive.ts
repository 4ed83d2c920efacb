import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'
import { alignedPool } from './aligned.ts'
import { CHUNK } from './chunks.ts'

/** A drive that is open; reads and writes go to it, not to the page cache. */
export interface OpenDrive extends Required<BlockDevice> {
  /** offsets and lengths of writes are multiples of it */
  readonly sectorBytes: number
  readonly close: () => Promise<void>
}

export interface OpenOptions {
  readonly bytes: number
  readonly sectorBytes: number
  /** a regular file in place of a drive: read and written through the page cache */
  readonly isFile: boolean
}

/** writes under way at once, and a read */
const BUFFERS = 3

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

const cannotOpen = (path: string, error: unknown): KnoxError => {
  const code = codeOf(error)
  if (code === 'EBUSY')
    return new KnoxError('refused', `${path} is in use`, [
      'nothing was changed',
      'a mounted file system, swap, a pool, LVM, RAID or another program has it',
    ])
  if (code === 'EACCES' || code === 'EPERM')
    return new KnoxError('refused', `${path} may not be written by this user (${code})`, [
      'nothing was changed',
      'run it as root; on FreeBSD the drive may also be in use',
    ])
  if (code === 'EROFS') return new KnoxError('refused', `${path} is write-protected`, ['nothing was changed'])
  return new KnoxError('disk', `${path} cannot be opened (${code})`, ['nothing was changed'], {
    cause: error,
  })
}

/**
 * Linux: alone (no file system, pool or second writer can get it meanwhile) and without page cache. FreeBSD: its disks
 * are character devices, which have none, and GEOM refuses to write to a drive that a file system has open.
 */
const flagsFor = (isFile: boolean): number =>
  constants.O_RDWR | (process.platform === 'linux' && !isFile ? constants.O_EXCL | constants.O_DIRECT : 0)

const openFile = (path: string, isFile: boolean): Promise<FileHandle> =>
  open(path, flagsFor(isFile)).catch((error: unknown) => {
    throw cannotOpen(path, error)
  })

/** Opens a drive for writing. Throws `refused` if it is in use or may not be written, `disk` if it does not answer. */
export const openDrive = async (path: string, options: OpenOptions): Promise<OpenDrive> => {
  const { bytes, sectorBytes, isFile } = options
  let file = await openFile(path, isFile)
  const pool = alignedPool(BUFFERS, CHUNK)
  const within = (offset: number, length: number) => {
    if (offset < 0 || length < 0 || offset + length > bytes)
      throw new RangeError(`${offset}+${length} is outside of ${path}`)
  }
  const all = async (length: number, step: (at: number) => Promise<number>) => {
    for (let at = 0; at < length;) {
      const done = await step(at)
      if (done === 0) throw Object.assign(new Error('the drive ends here'), { code: 'ENOSPC' })
      at += done
    }
  }
  /** aligned, and at most a chunk long */
  const readPiece = (offset: number, length: number): Promise<Buffer> =>
    pool.use(async (buffer) => {
      await all(length, async (at) => (await file.read(buffer, at, length - at, offset + at)).bytesRead)
      return Buffer.from(buffer.subarray(0, length))
    })
  return {
    size: bytes,
    sectorBytes,
    read: async (offset, length) => {
      within(offset, length)
      const from = offset - (offset % sectorBytes)
      const to = Math.ceil((offset + length) / sectorBytes) * sectorBytes
      const pieces: Buffer[] = []
      for (let at = from; at < to; at += CHUNK) pieces.push(await readPiece(at, Math.min(CHUNK, to - at)))
      const read = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces)
      return read.subarray(offset - from, offset - from + length)
    },
    write: async (offset, data) => {
      within(offset, data.length)
      if (offset % sectorBytes !== 0 || data.length % sectorBytes !== 0)
        throw new RangeError(`${offset}+${data.length} is not made of whole sectors of ${path}`)
      for (let start = 0; start < data.length; start += CHUNK)
        await pool.use(async (buffer) => {
          const length = data.copy(buffer, 0, start, start + CHUNK)
          await all(
            length,
            async (at) => (await file.write(buffer, at, length - at, offset + start + at)).bytesWritten,
          )
        })
    },
    flush: async () => {
      await file.sync()
      if (process.platform !== 'freebsd' || isFile) return
      // there the drive's own cache is written when its last writer closes it
      await file.close()
      file = await openFile(path, isFile)
    },
    close: () => file.close(),
  }
}
