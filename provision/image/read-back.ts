import { CHUNK, isZero, splitZeros, type Place } from './chunks.ts'
import { checkStopped, flushDrive, readDrive, writeDrive } from './drive-io.ts'
import type { OpenDrive } from './open-drive.ts'

export interface ReadBackOptions {
  /** what belongs on the drive, from the beginning; called once for every reading */
  readonly places: () => AsyncIterable<Place>
  /** zeros were left out in the writing, in blocks of this many bytes; undefined if all was written */
  readonly skippedBlock: number | undefined
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

/** The memory of both readings: two chunks in turn, and zeros. */
interface Memory {
  readonly next: () => Buffer
  readonly zeros: Buffer
}

const memoryOf = (drive: OpenDrive): Memory => {
  const [one, other, zeros] = [drive.allocate(CHUNK), drive.allocate(CHUNK), drive.allocate(CHUNK)]
  let isOne = false
  return { next: () => ((isOne = !isOne) ? one : other), zeros }
}

/** Reads every place once, the next one while this one is looked at; the first time writes the zeros that were left out. */
const readOnce = async (
  drive: OpenDrive,
  memory: Memory,
  reading: 1 | 2,
  { places, skippedBlock, signal, onBytes }: ReadBackOptions,
): Promise<ReadBack> => {
  let clearedBytes = 0
  const look = async ({ offset, data }: Place, found: Buffer): Promise<number | undefined> => {
    if (found.equals(data)) return undefined
    // the first place is always written whole
    const mayBeDirty = reading === 1 && skippedBlock !== undefined && offset > 0
    for (const { from, to } of mayBeDirty ? splitZeros(data, skippedBlock).zeros : []) {
      if (isZero(found.subarray(from, to))) continue
      await writeDrive(drive, offset + from, memory.zeros.subarray(0, to - from))
      found.fill(0, from, to)
      clearedBytes += to - from
    }
    return found.equals(data) ? undefined : offset + firstDifference(found, data)
  }
  let last: { readonly place: Place; readonly found: Buffer; readonly isRead: Promise<void> } | undefined
  const lookAtLast = async (): Promise<number | undefined> => {
    if (last === undefined) return undefined
    const { place, found, isRead } = last
    await isRead
    const wrongAt = await look(place, found)
    onBytes(place.offset + place.data.length, reading)
    return wrongAt
  }
  for await (const place of places()) {
    checkStopped(signal)
    const found = memory.next().subarray(0, place.data.length)
    const isRead = readDrive(drive, place.offset, found)
    isRead.catch(() => undefined) // it is awaited in its turn, if that comes
    const wrongAt = await lookAtLast()
    last = { place, found, isRead }
    if (wrongAt === undefined) continue
    await isRead.catch(() => undefined)
    return { wrongAt, clearedBytes }
  }
  return { wrongAt: await lookAtLast(), clearedBytes }
}

/**
 * Reads back all that belongs on the drive and compares it byte by byte. Zeros that were not written and are none are
 * written now; then all is read once more, since a drive that pretends to be larger may have put them in another place.
 * Throws `disk` and `interrupted`, and what the places throw.
 */
export const readBack = async (drive: OpenDrive, options: ReadBackOptions): Promise<ReadBack> => {
  const memory = memoryOf(drive)
  const first = await readOnce(drive, memory, 1, options)
  if (first.wrongAt !== undefined || first.clearedBytes === 0) return first
  await flushDrive(drive)
  const second = await readOnce(drive, memory, 2, options)
  return { wrongAt: second.wrongAt, clearedBytes: first.clearedBytes }
}
