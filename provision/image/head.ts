import type { Place } from './chunks.ts'
import { flushDrive, readDrive, writeDrive } from './drive-io.ts'
import type { OpenDrive } from './open-drive.ts'

/** The beginning of a drive, which comes last: a drive without it does not start, and looks like nothing. */

/** bytes without which nothing is found on a drive: partition table, boot code, labels */
const HEAD = 1024 * 1024

/** Takes the partition table away, on the drive itself. */
export const clearHead = async (drive: OpenDrive): Promise<void> => {
  await writeDrive(drive, 0, drive.allocate(Math.min(HEAD, drive.size)))
  await flushDrive(drive)
}

/** The head of an image, kept back. */
export interface KeptHead {
  /** The same places with a text where the head belongs; remembers the head. */
  readonly keepBack: (places: AsyncIterable<Place>) => AsyncGenerator<Place>
  /** Writes the head and compares it with what the image said last; the first byte that is wrong, if one is. */
  readonly giveBack: () => Promise<number | undefined>
}

/**
 * The text is none that an image has: on a drive that pretends to be larger, the head is also in the place of other
 * bytes. As zeros it would be taken there for zeros of the image, and be found nowhere once it is the head.
 */
export const keptHead = (drive: OpenDrive): KeptHead => {
  const most = Math.min(HEAD, drive.size)
  const text = drive.allocate(most).fill('this drive is not finished: flash it again\n')
  const [written, said] = [drive.allocate(most), drive.allocate(most)]
  let length: number | undefined
  return {
    keepBack: async function* (places) {
      for await (const { offset, data } of places) {
        if (offset > 0) {
          yield { offset, data }
          continue
        }
        const isFirst = length === undefined
        length = Math.min(most, data.length)
        data.copy(said, 0, 0, length)
        if (isFirst) data.copy(written, 0, 0, length)
        yield { offset, data: text.subarray(0, length) }
        if (length < data.length) yield { offset: length, data: data.subarray(length) }
      }
    },
    giveBack: async () => {
      const head = written.subarray(0, length)
      await writeDrive(drive, 0, head)
      await flushDrive(drive)
      await readDrive(drive, 0, head)
      const wrongAt = head.findIndex((byte, at) => byte !== said[at])
      return wrongAt < 0 ? undefined : wrongAt
    },
  }
}
