import { constants, type Stats } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'

/** A disk or an image file as a block device. */
export interface BlockFile extends BlockDevice {
  readonly close: () => Promise<void>
}

/** raw disks of FreeBSD take only whole sectors, and none has larger ones */
const ALIGNMENT = 4096

/** dev_t of Linux, as major(3) and minor(3) take it apart */
const sysfsSize = async ({ rdev }: Stats): Promise<number> => {
  const major = Math.floor(rdev / 256) % 4096
  const minor = (rdev % 256) + Math.floor(rdev / 2 ** 20) * 256
  return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512
}

/** diskinfo(8) of FreeBSD: name, sector size, size in bytes, ... */
const diskinfoSize = async (path: string): Promise<number> => {
  // only FreeBSD needs it; who opens images only, does so without loading all of that
  const { run } = await import('./process.ts')
  const { stdout } = await run(['diskinfo', path], { timeout: 60 })
  return Number(stdout.split('\t')[2])
}

const sizeOf = async (path: string, info: Stats): Promise<number> => {
  if (info.isFile()) return info.size
  const size = info.isBlockDevice()
    ? await sysfsSize(info)
    : info.isCharacterDevice()
      ? await diskinfoSize(path)
      : Number.NaN
  if (Number.isSafeInteger(size) && size > 0) return size
  throw new KnoxError('usage', `${path} is neither a disk nor an image file`)
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or device',
  EACCES: 'this user may not open it: try as root',
  EPERM: 'this user may not open it: try as root',
  EBUSY: 'it is in use',
  EISDIR: 'it is a folder',
  EROFS: 'it cannot be written',
}

const explain = (path: string) => (error: unknown) => {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  throw new KnoxError('disk', `${path} cannot be opened: ${REASONS[code] ?? String(error)}`)
}

/**
 * Opens a disk or an image file; `writable` adds write and flush, and takes a disk for itself alone.
 * Throws `disk` if it cannot be opened, `usage` if it is neither.
 */
export const openBlockFile = async (path: string, { writable = false } = {}): Promise<BlockFile> => {
  const info = await stat(path).catch(explain(path))
  const size = await sizeOf(path, info)
  // O_EXCL without O_CREAT: on Linux a disk that is mounted or part of a pool is busy then
  const alone = info.isBlockDevice() ? constants.O_EXCL : 0
  const flags = writable ? constants.O_RDWR | alone : constants.O_RDONLY
  const file = await open(path, flags).catch(explain(path))

  const check = (offset: number, length: number): void => {
    if (offset < 0 || length < 0 || offset + length > size)
      throw new RangeError(`${length} bytes at ${offset} are outside of ${path}`)
  }
  const readAligned = async (offset: number, length: number): Promise<Buffer> => {
    const buffer = Buffer.allocUnsafe(length)
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(buffer, done, length - done, offset + done)
      if (bytesRead === 0) throw new Error(`${path} ends at ${offset + done}, before its size of ${size}`)
      done += bytesRead
    }
    return buffer
  }
  const read = async (offset: number, length: number): Promise<Buffer> => {
    check(offset, length)
    const start = offset - (offset % ALIGNMENT)
    const end = Math.min(size, Math.ceil((offset + length) / ALIGNMENT) * ALIGNMENT)
    const whole = await readAligned(start, end - start)
    return whole.subarray(offset - start, offset - start + length)
  }
  let broken: Error | undefined
  const write = async (offset: number, data: Buffer): Promise<void> => {
    check(offset, data.length)
    if (broken !== undefined) throw broken
    for (let done = 0; done < data.length;)
      done += (await file.write(data, done, data.length - done, offset + done)).bytesWritten
  }
  /**
   * What was written may be found unwritable only here, once, and may be lost: from then on nothing is written any more, since
   * ZFS does not look at how a flush ends, and what it writes next would say that all before it is on the disk.
   */
  const flush = async (): Promise<void> => {
    if (broken !== undefined) throw broken
    await file.datasync().catch((error: unknown) => {
      broken = new Error(`${path} could not be written`, { cause: error })
      throw broken
    })
  }
  return {
    size,
    read,
    ...(writable ? { write, flush } : {}),
    close: () => file.close(),
  }
}
