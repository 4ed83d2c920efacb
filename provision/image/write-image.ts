import { CHUNK, splitZeros, type Place, type Range } from './chunks.ts'
import { checkStopped, flushDrive, writeDrive } from './drive-io.ts'
import type { OpenDrive } from './open-drive.ts'

export interface WriteOptions {
  readonly places: AsyncIterable<Place>
  /** leave out blocks of zeros of this many bytes, for the reading back to see to; undefined writes all */
  readonly skippedBlock: number | undefined
  readonly signal: AbortSignal
  /** hears where on the drive it is */
  readonly onBytes: (bytes: number) => void
}

/** writes under way at once: the drive has the next one before this program has looked at the last */
const DEPTH = 2

/** bytes at the beginning without which nothing is found on a drive: partition table, boot code, labels */
const HEAD = 1024 * 1024

/** Takes the partition table away, on the drive itself; at most `bytes`. */
export const clearHead = async (drive: OpenDrive, bytes = HEAD): Promise<void> => {
  await writeDrive(drive, 0, drive.allocate(Math.min(HEAD, bytes, drive.size)))
  await flushDrive(drive)
}

/** A few writes at once, started in order; what is to be written is copied. After a failed one no other is started. */
const writerOf = (drive: OpenDrive) => {
  const free = Array.from({ length: DEPTH }, () => drive.allocate(CHUNK))
  const running: Promise<Buffer>[] = []
  let failure: Error | undefined
  const start = async (offset: number, data: Buffer, memory: Buffer): Promise<Buffer> => {
    await writeDrive(drive, offset, memory.subarray(0, data.copy(memory))).catch((error: unknown) => {
      failure ??= error instanceof Error ? error : new Error(String(error))
    })
    return memory
  }
  return {
    write: async (offset: number, data: Buffer) => {
      const memory = free.pop() ?? (await running.shift())
      if (failure !== undefined) throw failure
      if (memory !== undefined) running.push(start(offset, data, memory))
    },
    /** waits for all that were started; never throws */
    settle: async () => {
      free.push(...(await Promise.all(running.splice(0))))
    },
    /** what the first failing one threw */
    failed: () => failure,
  }
}

const stretchesOf = (data: Buffer, skippedBlock: number | undefined): readonly Range[] =>
  skippedBlock === undefined ? [{ from: 0, to: data.length }] : splitZeros(data, skippedBlock).data

/**
 * Writes what belongs on a drive so that one with half of it does not look like one with all of it: the beginning, which
 * has the partition table, is zeroed before all else, and the first place is written at the very end. Throws `disk`,
 * `interrupted`, or what the places throw; then the beginning is zeros, or nothing was written yet.
 */
export const writeImage = async (drive: OpenDrive, options: WriteOptions): Promise<void> => {
  const { skippedBlock, signal, onBytes } = options
  const writer = writerOf(drive)
  let head: Buffer | undefined
  try {
    for await (const { offset, data } of options.places) {
      checkStopped(signal)
      if (head === undefined) {
        head = drive.allocate(data.length)
        data.copy(head)
        await clearHead(drive, data.length)
      } else
        for (const { from, to } of stretchesOf(data, skippedBlock))
          await writer.write(offset + from, data.subarray(from, to))
      onBytes(offset + data.length)
    }
  } finally {
    await writer.settle()
  }
  const failure = writer.failed()
  if (failure !== undefined) throw failure
  await flushDrive(drive)
  checkStopped(signal)
  if (head === undefined) return
  await writeDrive(drive, 0, head)
  await flushDrive(drive)
}
