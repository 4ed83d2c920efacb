import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { KnoxError } from '../core/errors.ts'
import { alignedMemory } from './aligned.ts'
import { CHUNK } from './chunks.ts'

/**
 * A drive that is open. What is read and written goes to it, not to the page cache, and so in whole sectors and from and
 * to its own memory only. Reads and writes throw a RangeError for anything else, and the system's error if it fails.
 */
export interface OpenDrive {
  /** in bytes */
  readonly size: number
  readonly sectorBytes: number
  /** Memory for `read` and `write`, of zeros. There is enough for eleven chunks. */
  readonly allocate: (bytes: number) => Buffer
  /** Fills the buffer. */
  readonly read: (offset: number, into: Buffer) => Promise<void>
  readonly write: (offset: number, data: Buffer) => Promise<void>
  /** Until it returns, what was written may be lost by a power cut. */
  readonly flush: () => Promise<void>
  readonly close: () => Promise<void>
}

export interface OpenOptions {
  readonly bytes: number
  readonly sectorBytes: number
  /** a regular file in place of a drive: read and written through the page cache */
  readonly isFile: boolean
  /** another than this machine's in tests only */
  readonly system?: { readonly platform: NodeJS.Platform; readonly open: typeof open }
}

const MEMORY = 11 * CHUNK

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? ''

const cannotOpen = (path: string, error: unknown): KnoxError => {
  const code = codeOf(error)
  const refused = (message: string, ...hints: readonly string[]) =>
    new KnoxError('refused', message, ['nothing was changed', ...hints])
  if (code === 'EBUSY')
    return refused(
      `${path} is in use`,
      'a mounted file system, swap, a pool, LVM, RAID or another program has it',
    )
  if (code === 'EACCES' || code === 'EPERM')
    return refused(
      `${path} may not be written by this user (${code})`,
      'run it as root; on FreeBSD the drive may also be in use',
    )
  if (code === 'EROFS') return refused(`${path} is write-protected`)
  return new KnoxError('disk', `${path} cannot be opened (${code})`, ['nothing was changed'], {
    cause: error,
  })
}

/**
 * Linux: alone (no file system, pool or second writer can get it meanwhile) and without page cache. FreeBSD: its disks
 * are character devices, which have none, and GEOM refuses to write to a drive that a file system has open.
 */
const flagsFor = (platform: NodeJS.Platform, isFile: boolean): number =>
  constants.O_RDWR | (platform === 'linux' && !isFile ? constants.O_EXCL | constants.O_DIRECT : 0)

/** Repeats a read or write that does only a part, until all is done. */
const whole = async (length: number, step: (at: number) => Promise<number>): Promise<void> => {
  for (let at = 0; at < length;) {
    const done = await step(at)
    if (done === 0) throw Object.assign(new Error('the drive ends here'), { code: 'ENOSPC' })
    at += done
  }
}

/** Opens a drive for writing. Throws `refused` if it is in use or may not be written, `disk` if it does not answer. */
export const openDrive = async (path: string, options: OpenOptions): Promise<OpenDrive> => {
  const { bytes, sectorBytes, isFile } = options
  const { system = { platform: process.platform, open } } = options
  const openFile = (): Promise<FileHandle> => system.open(path, flagsFor(system.platform, isFile))
  let file = await openFile().catch((error: unknown) => {
    throw cannotOpen(path, error)
  })
  const check = (offset: number, length: number) => {
    if (offset < 0 || offset + length > bytes)
      throw new RangeError(`${offset}+${length} is outside of ${path}`)
    if (offset % sectorBytes !== 0 || length % sectorBytes !== 0)
      throw new RangeError(`${offset}+${length} is not made of whole sectors of ${path}`)
  }
  return {
    size: bytes,
    sectorBytes,
    allocate: alignedMemory(MEMORY),
    read: async (offset, into) => {
      const { length } = into
      check(offset, length)
      await whole(length, async (at) => (await file.read(into, at, length - at, offset + at)).bytesRead)
    },
    write: async (offset, data) => {
      const { length } = data
      check(offset, length)
      await whole(length, async (at) => (await file.write(data, at, length - at, offset + at)).bytesWritten)
    },
    flush: async () => {
      await file.sync()
      if (system.platform !== 'freebsd' || isFile) return
      // there the drive's own cache is written when its last writer closes it
      await file.close()
      file = await openFile()
    },
    close: () => file.close(),
  }
}
