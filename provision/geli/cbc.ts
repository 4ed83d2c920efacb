import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import { le64 } from './sector-key.ts'
import type { SectorTransforms } from './transform.ts'

/** AES-CBC over runs of sectors, each sector with an IV of its own. */

const BLOCK = 16

/** `sectorKey` is 16, 24 or 32 bytes, the caller may wipe it after the call; the provider's ivKey is used until the end. */
export const cbcTransforms = (sectorKey: Buffer, ivKey: Buffer, sectorSize: number): SectorTransforms => {
  const key = Buffer.from(sectorKey)
  const cbc = `aes-${key.length * 8}-cbc`
  const ivOf = (offset: number): Buffer =>
    createHash('sha256').update(ivKey).update(le64(offset)).digest().subarray(0, BLOCK)

  return {
    encrypt: (source, target, offset) => {
      for (let at = 0; at < source.length; at += sectorSize)
        createCipheriv(cbc, key, ivOf(offset + at))
          .setAutoPadding(false)
          .update(source.subarray(at, at + sectorSize))
          .copy(target, at)
    },
    // one chain over all sectors: only the first block of each came out with the wrong predecessor
    decrypt: (source, target, offset) => {
      const plain = createDecipheriv(cbc, key, ivOf(offset)).setAutoPadding(false).update(source)
      for (let at = sectorSize; at < source.length; at += sectorSize) {
        const iv = ivOf(offset + at)
        for (let i = 0; i < BLOCK; i += 1)
          plain.writeUInt8(
            plain.readUInt8(at + i) ^ source.readUInt8(at - BLOCK + i) ^ iv.readUInt8(i),
            at + i,
          )
      }
      plain.copy(target)
    },
    wipe: () => {
      key.fill(0)
    },
  }
}
