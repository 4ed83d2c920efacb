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

let zeros = Buffer.alloc(CHUNK)

/** A view of zeros, `length` bytes; not to be written to. */
export const zerosOf = (length: number): Buffer => {
  if (length > zeros.length) zeros = Buffer.alloc(length)
  return zeros.subarray(0, length)
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

/**
 * Buffers for chunks, in turn: one is used again for the next chunk but one. Fresh memory for every chunk would cost
 * more than moving the bytes.
 */
export const chunkBuffers = (size: number): (() => Buffer) => {
  const pair = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)] as const
  let turn = 0
  return () => pair[(turn = 1 - turn) === 0 ? 0 : 1]
}

/** The same bytes in chunks of `size`, the last one as long as it is; each is good until the next but one is asked for. */
export async function* inChunks(pieces: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer> {
  const nextBuffer = chunkBuffers(size)
  let chunk = nextBuffer()
  let filled = 0
  for await (const piece of pieces)
    for (let at = 0; at < piece.length;) {
      const copied = piece.copy(chunk, filled, at)
      filled += copied
      at += copied
      if (filled < size) continue
      yield chunk
      chunk = nextBuffer()
      filled = 0
    }
  if (filled > 0) yield chunk.subarray(0, filled)
}

/** bytes at the end of a drive where an older partition table, pool or GELI has its labels */
export const TAIL = 1024 * 1024

/** Bytes, and where on the drive they belong; they are good until the next place but one is asked for. */
export interface Place {
  readonly offset: number
  readonly data: Buffer
}

/**
 * What belongs on a drive: the chunks one after another, the last one filled up with zeros to a whole sector, and zeros
 * at the drive's end where older labels may be.
 */
export async function* placesOn(
  drive: { readonly size: number; readonly sectorBytes: number },
  chunks: AsyncIterable<Buffer>,
): AsyncGenerator<Place> {
  let offset = 0
  for await (const chunk of chunks) {
    const missing = (drive.sectorBytes - (chunk.length % drive.sectorBytes)) % drive.sectorBytes
    const data = missing === 0 ? chunk : Buffer.concat([chunk, zerosOf(missing)])
    yield { offset, data }
    offset += data.length
  }
  const tail = Math.max(drive.size - TAIL, offset)
  if (tail < drive.size) yield { offset: tail, data: zerosOf(drive.size - tail) }
}
