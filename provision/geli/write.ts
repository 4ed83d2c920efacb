import { sectorReader, sectorsOf, type Part } from './read.ts'

type Write = (offset: number, data: Buffer) => Promise<void>

/**
 * `write` of a decrypted device on one that can be written. A sector that is written in part is read first, so
 * writes are done one after another: two of them in one sector would otherwise undo each other.
 */
export const sectorWriter = (part: Part, writeDevice: Write): Write => {
  const { cipher, sectorSize } = part
  const read = sectorReader(part)

  const write: Write = async (offset, data) => {
    const last = offset + data.length
    const { start, end, piece } = sectorsOf(part, offset, data.length)
    for (let at = start; at < end; at += piece) {
      const next = Math.min(at + piece, end)
      const sectors = Buffer.alloc(next - at)
      const cutsFirst = offset > at
      const cutsLast = last < next
      if (cutsFirst) (await read(at, sectorSize)).copy(sectors)
      if (cutsLast && !(cutsFirst && sectors.length === sectorSize))
        (await read(next - sectorSize, sectorSize)).copy(sectors, sectors.length - sectorSize)
      const from = Math.max(at, offset)
      data.copy(sectors, from - at, from - offset, Math.min(next, last) - offset)
      cipher.encrypt(sectors, sectors, at)
      await writeDevice(at, sectors)
    }
  }

  let before: Promise<unknown> = Promise.resolve()
  return (offset, data) => {
    const done = before.then(() => write(offset, data))
    before = done.catch(() => undefined) // the caller has the error; the next write does not care
    return done
  }
}
