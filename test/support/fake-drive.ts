import type { OpenDrive } from '../../provision/image/open-drive.ts'

/** A drive in memory, strict as a real one, that can be told to fail or to lie. */
export interface FakeDrive extends OpenDrive {
  readonly content: Buffer
  /** every write (`write OFFSET LENGTH`) and `flush`, in order */
  readonly log: string[]
  /** the most writes that were under way at once */
  readonly busiest: () => number
}

export interface Faults {
  /** before each read, write and flush, with its number from 1 on; may throw */
  readonly before?: (operation: number) => void
  /** false drops the write with this number, which then seems to have worked */
  readonly keeps?: (write: number) => boolean
  /** where a byte offset really is: a drive that pretends to be larger wraps around */
  readonly place?: (offset: number) => number
}

export const systemError = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code })

export const fakeDrive = (content: Buffer, sectorBytes: number, faults: Faults = {}): FakeDrive => {
  const log: string[] = []
  let [operations, writes, running, most] = [0, 0, 0, 0]
  const place = faults.place ?? ((offset) => offset)
  const check = (offset: number, length: number) => {
    if (offset < 0 || offset + length > content.length) throw systemError('ENOSPC')
    if (offset % sectorBytes !== 0 || length % sectorBytes !== 0) throw systemError('EINVAL')
  }
  /** sector by sector, since two neighbours may be anywhere */
  const sectors = function* (offset: number, length: number) {
    for (let at = 0; at < length; at += sectorBytes)
      yield { at, real: place(offset + at), bytes: Math.min(sectorBytes, length - at) }
  }
  const operation = async <T>(work: () => T): Promise<T> => {
    operations += 1
    const number = operations
    await new Promise((resolve) => setImmediate(resolve))
    faults.before?.(number)
    return work()
  }
  return {
    size: content.length,
    sectorBytes,
    content,
    log,
    busiest: () => most,
    // nothing longer than the drive is ever wanted
    allocate: (bytes) => Buffer.alloc(Math.min(bytes, content.length)),
    read: (offset, into) =>
      operation(() => {
        check(offset, into.length)
        for (const { at, real, bytes } of sectors(offset, into.length))
          content.copy(into, at, real, real + bytes)
      }),
    write: async (offset, data) => {
      running += 1
      most = Math.max(most, running)
      // the caller may use its buffer again only when the write has ended
      await operation(() => {
        check(offset, data.length)
        log.push(`write ${offset} ${data.length}`)
        writes += 1
        if (faults.keeps?.(writes) === false) return
        for (const { at, real, bytes } of sectors(offset, data.length))
          data.copy(content, real, at, at + bytes)
      }).finally(() => (running -= 1))
    },
    flush: () => operation(() => void log.push('flush')),
    close: () => Promise.resolve(),
  }
}
