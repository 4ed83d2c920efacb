import type { BlockDevice } from '../core/block-device.ts'
import type { SectorTransforms } from './transform.ts'

/** What a decrypted device is made of. */
export interface Part {
  readonly device: BlockDevice
  readonly cipher: SectorTransforms
  /** of the decrypted device, in bytes */
  readonly size: number
  readonly sectorSize: number
}

/** Bytes that are asked of the device at once, so that a long read needs little more memory than its result. */
const PIECE = 2 ** 20

/** The sectors that a range of bytes touches, and the pieces in which they are done: all in bytes, whole sectors. */
export const sectorsOf = ({ size, sectorSize }: Part, offset: number, length: number) => {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0)
    throw new RangeError(`${length} bytes at ${offset} are no range`)
  if (offset + length > size)
    throw new RangeError(`${length} bytes at ${offset} are not all inside of a device of ${size}`)
  const start = offset - (offset % sectorSize)
  const end = length === 0 ? start : Math.ceil((offset + length) / sectorSize) * sectorSize
  return { start, end, piece: Math.max(PIECE, sectorSize) }
}

/** `read` of a decrypted device. */
export const sectorReader =
  (part: Part) =>
  async (offset: number, length: number): Promise<Buffer> => {
    const { start, end, piece } = sectorsOf(part, offset, length)
    const plain = Buffer.allocUnsafeSlow(end - start)
    for (let at = start; at < end; at += piece) {
      const wanted = Math.min(piece, end - at)
      const data = await part.device.read(at, wanted)
      if (data.length !== wanted)
        throw new Error(`the device gave ${data.length} bytes at ${at} where ${wanted} were asked for`)
      part.cipher.decrypt(data, plain.subarray(at - start), at)
    }
    return plain.subarray(offset - start, offset - start + length)
  }
