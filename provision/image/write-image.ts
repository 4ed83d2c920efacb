import { LENT, splitZeros, type Place, type Range } from './chunks.ts'
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

/** A few writes at once, started in order. After a failed one no other is started. */
const writerOf = (drive: OpenDrive) => {
  const running: { readonly turn: number; readonly done: Promise<void> }[] = []
  let failure: Error | undefined
  const finish = async (turn: number): Promise<void> => {
    while ((running[0]?.turn ?? Infinity) <= turn) await running.shift()?.done
  }
  return {
    write: async (turn: number, offset: number, data: Buffer) => {
      if (running.length >= DEPTH) await running.shift()?.done
      if (failure !== undefined) throw failure
      const done = writeDrive(drive, offset, data).catch((error: unknown) => {
        failure ??= error instanceof Error ? error : new Error(String(error))
      })
      running.push({ turn, done })
    },
    /** waits for those up to this turn; never throws */
    finish,
    /** what the first failing one threw */
    failed: () => failure,
  }
}

const stretchesOf = (data: Buffer, skippedBlock: number | undefined): readonly Range[] =>
  skippedBlock === undefined ? [{ from: 0, to: data.length }] : splitZeros(data, skippedBlock).data

/**
 * Writes what belongs on a drive. The first place is on the drive before anything else is written, so that what was the
 * beginning of the drive is gone. Throws `disk`, `interrupted`, or what the places throw.
 */
export const writeImage = async (drive: OpenDrive, options: WriteOptions): Promise<void> => {
  const { skippedBlock, signal, onBytes } = options
  const writer = writerOf(drive)
  let turn = 0
  try {
    for await (const { offset, data } of options.places) {
      checkStopped(signal)
      if (offset === 0) {
        await writeDrive(drive, 0, data)
        await flushDrive(drive)
      } else
        for (const { from, to } of stretchesOf(data, skippedBlock))
          await writer.write(turn, offset + from, data.subarray(from, to))
      onBytes(offset + data.length)
      turn += 1
      // the memory of this one is wanted for the next
      await writer.finish(turn - LENT)
    }
  } finally {
    await writer.finish(turn)
  }
  const failure = writer.failed()
  if (failure !== undefined) throw failure
  await flushDrive(drive)
}
