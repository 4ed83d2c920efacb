import { splitZeros, zerosOf, type Place, type Range } from './chunks.ts'
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

/** Takes the partition table away, on the drive itself before anything else is written. */
export const clearHead = async (drive: OpenDrive, bytes: number): Promise<void> => {
  await writeDrive(drive, 0, zerosOf(bytes))
  await flushDrive(drive)
}

/** A few writes at once, started in order. After a failed one no other is started. */
const writerOf = (drive: OpenDrive) => {
  const running: Promise<void>[] = []
  let failure: Error | undefined
  return {
    write: async (offset: number, data: Buffer) => {
      if (running.length >= DEPTH) await running.shift()
      if (failure !== undefined) throw failure
      running.push(
        writeDrive(drive, offset, data).catch((error: unknown) => {
          failure ??= error instanceof Error ? error : new Error(String(error))
        }),
      )
    },
    /** waits for all that were started; never throws */
    settle: async () => {
      await Promise.all(running.splice(0))
    },
    /** what the first failing one threw */
    failed: () => failure,
  }
}

const stretchesOf = (data: Buffer, skippedBlock: number | undefined): readonly Range[] =>
  skippedBlock === undefined ? [{ from: 0, to: data.length }] : splitZeros(data, skippedBlock).data

/**
 * Writes what belongs on a drive so that one with half of it does not look like one with all of it: the first place,
 * which has the partition table, is zeroed at the beginning and written at the very end. Throws `disk`, `interrupted`,
 * or what the places throw; then the first place is zeros, or nothing was written yet.
 */
export const writeImage = async (drive: OpenDrive, options: WriteOptions): Promise<void> => {
  const { skippedBlock, signal, onBytes } = options
  const writer = writerOf(drive)
  let head: Place | undefined
  try {
    for await (const place of options.places) {
      checkStopped(signal)
      const { offset, data } = place
      if (head === undefined) await clearHead(drive, (head = place).data.length)
      else
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
  await writeDrive(drive, head.offset, head.data)
  await flushDrive(drive)
}
