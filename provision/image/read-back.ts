import { BLOCK, isZero, splitZeros, zerosOf, type Place } from './chunks.ts'
import { checkStopped, flushDrive, readDrive, writeDrive } from './drive-io.ts'
import type { OpenDrive } from './open-drive.ts'

export interface ReadBackOptions {
  /** what belongs on the drive, from the beginning; called once for every reading */
  readonly places: () => AsyncIterable<Place>
  readonly signal: AbortSignal
  /** hears where on the drive it is, and in which reading */
  readonly onBytes: (bytes: number, reading: number) => void
}

export interface ReadBack {
  /** offset of the first byte that is wrong, undefined if all is right */
  readonly wrongAt: number | undefined
  /** bytes that had to become zeros */
  readonly clearedBytes: number
}

/** Where two buffers of one length differ first, as an index. */
const firstDifference = (one: Buffer, other: Buffer): number => {
  let from = 0
  for (let length = one.length; length > 1;) {
    const half = Math.ceil(length / 2)
    const isSame = one.subarray(from, from + half).equals(other.subarray(from, from + half))
    if (isSame) from += half
    length = isSame ? length - half : half
  }
  return from
}

/** Reads every place once, the next one while this one is looked at. `mend` writes zeros where zeros belong. */
const readOnce = async (
  drive: OpenDrive,
  places: AsyncIterable<Place>,
  mend: boolean,
  { signal, onBytes }: { readonly signal: AbortSignal; readonly onBytes: (bytes: number) => void },
): Promise<ReadBack> => {
  let clearedBytes = 0
  const look = async ({ offset, data }: Place, found: Buffer): Promise<number | undefined> => {
    if (found.equals(data)) return undefined
    const dirty = mend ? splitZeros(data, BLOCK).zeros : []
    for (const { from, to } of dirty.filter((range) => !isZero(found.subarray(range.from, range.to)))) {
      await writeDrive(drive, offset + from, zerosOf(to - from))
      found.fill(0, from, to)
      clearedBytes += to - from
    }
    return found.equals(data) ? undefined : offset + firstDifference(found, data)
  }
  let last: { readonly place: Place; readonly found: Promise<Buffer> } | undefined
  const lookAtLast = async () => {
    if (last === undefined) return undefined
    const { place, found } = last
    last = undefined
    const wrongAt = await look(place, await found)
    onBytes(place.offset + place.data.length)
    return wrongAt
  }
  for await (const place of places) {
    checkStopped(signal)
    const found = readDrive(drive, place.offset, place.data.length)
    found.catch(() => undefined) // it is awaited in its turn, if that comes
    const wrongAt = await lookAtLast()
    last = { place, found }
    if (wrongAt !== undefined) {
      await found.catch(() => undefined)
      return { wrongAt, clearedBytes }
    }
  }
  return { wrongAt: await lookAtLast(), clearedBytes }
}

/**
 * Reads back all that belongs on the drive and compares it byte by byte. Zeros that were not written and are none are
 * written now; then all is read once more, since a drive that pretends to be larger may have put them in another place.
 * Throws `disk` and `interrupted`, and what the places throw.
 */
export const readBack = async (drive: OpenDrive, options: ReadBackOptions): Promise<ReadBack> => {
  const { places, signal, onBytes } = options
  const first = await readOnce(drive, places(), true, { signal, onBytes: (bytes) => onBytes(bytes, 1) })
  if (first.wrongAt !== undefined || first.clearedBytes === 0) return first
  await flushDrive(drive)
  const second = await readOnce(drive, places(), false, { signal, onBytes: (bytes) => onBytes(bytes, 2) })
  return { wrongAt: second.wrongAt, clearedBytes: first.clearedBytes }
}
