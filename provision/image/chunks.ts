/** Pieces of an image, and the zeros in them. */

/** bytes moved at once; flash cards like 4 MiB, their usual allocation unit */
export const CHUNK = 4 * 1024 * 1024

/** bytes of zeros that are worth a gap between two writes */
export const BLOCK = 256 * 1024

/** A stretch of a chunk: from its first byte to before its last. */
export interface Range {
  readonly from: number
  readonly to: number
}

let plainZeros = Buffer.alloc(CHUNK)

/** A view of zeros, `length` bytes; not to be written to. */
const zerosOf = (length: number): Buffer => {
  if (length > plainZeros.length) plainZeros = Buffer.alloc(length)
  return plainZeros.subarray(0, length)
}

export const isZero = (data: Buffer): boolean => data.equals(zerosOf(data.length))

/** The stretches of a chunk by what is in them, looked at block by block; together they cover it. */
export const splitZeros = (
  data: Buffer,
  block: number,
): { readonly data: readonly Range[]; readonly zeros: readonly Range[] } => {
  const found = { data: [] as Range[], zeros: [] as Range[] }
  let last: { list: Range[]; from: number } | undefined
  for (let at = 0; at < data.length; at += block) {
    const list = isZero(data.subarray(at, at + block)) ? found.zeros : found.data
    if (last?.list !== list) last = { list, from: at }
    else list.pop()
    list.push({ from: last.from, to: Math.min(at + block, data.length) })
  }
  return found
}

/** A chunk’s buffer is used again for the third next one: two may be under way while the next is filled. */
export const LENT = 3

/** The same bytes in chunks as long as the buffers, which take turns; the last one as long as it is. */
export async function* inChunks(
  pieces: AsyncIterable<Buffer>,
  buffers: readonly Buffer[],
): AsyncGenerator<Buffer> {
  let [turn, filled] = [0, 0]
  for await (const piece of pieces)
    for (let at = 0; at < piece.length;) {
      const chunk = bufferOf(buffers, turn)
      const copied = piece.copy(chunk, filled, at)
      filled += copied
      at += copied
      if (filled < chunk.length) continue
      yield chunk
      turn += 1
      filled = 0
    }
  if (filled > 0) yield bufferOf(buffers, turn).subarray(0, filled)
}

/** The buffer whose turn it is. */
export const bufferOf = (buffers: readonly Buffer[], turn: number): Buffer => {
  const buffer = buffers[turn % buffers.length]
  if (buffer === undefined) throw new RangeError('there are no buffers')
  return buffer
}

/** bytes at the end of a drive where an older partition table, pool or GELI has its labels */
export const TAIL = 1024 * 1024

/** Bytes, and where on the drive they belong; they are good until the third next place is asked for. */
export interface Place {
  readonly offset: number
  readonly data: Buffer
}

/** Memory of the drive for places that are no chunk of the image. */
export interface SpareMemory {
  /** as long as a chunk */
  readonly last: Buffer
  /** zeros, as long as `TAIL` */
  readonly zeros: Buffer
}

/**
 * What belongs on a drive: the chunks one after another, the last one filled up with zeros to a whole sector, and zeros
 * at the drive's end where older labels may be.
 */
export async function* placesOn(
  drive: { readonly size: number; readonly sectorBytes: number },
  chunks: AsyncIterable<Buffer>,
  { last, zeros }: SpareMemory,
): AsyncGenerator<Place> {
  let offset = 0
  for await (const chunk of chunks) {
    const length = Math.ceil(chunk.length / drive.sectorBytes) * drive.sectorBytes
    const data = length === chunk.length ? chunk : last.subarray(0, length).fill(0)
    if (data !== chunk) chunk.copy(data)
    yield { offset, data }
    offset += length
  }
  const tail = Math.max(drive.size - TAIL, offset)
  if (tail < drive.size) yield { offset: tail, data: zeros.subarray(0, drive.size - tail) }
}
