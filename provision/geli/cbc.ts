import { createCipheriv, createDecipheriv, hash } from 'node:crypto'
import type { SectorTransforms } from './transform.ts'

/** AES-CBC over runs of sectors, each sector with an IV of its own: SHA256(ivKey, LE64(byte offset)), cut. */

const BLOCK = 16
const IV_KEY_BYTES = 64

/** `sectorKey` is 16, 24 or 32 bytes, `ivKey` is the provider's; the caller may wipe both after the call. */
export const cbcTransforms = (sectorKey: Buffer, ivKey: Buffer, sectorSize: number): SectorTransforms => {
  const key = Buffer.from(sectorKey)
  const cbc = `aes-${key.length * 8}-cbc`
  const ivInput = Buffer.alloc(IV_KEY_BYTES + 8)
  ivKey.copy(ivInput, 0, 0, IV_KEY_BYTES)
  const ivOf = (offset: number): Buffer => {
    ivInput.writeBigUInt64LE(BigInt(offset), IV_KEY_BYTES)
    return hash('sha256', ivInput, 'buffer').subarray(0, BLOCK)
  }

  return {
    encrypt: (source, target, offset) => {
      for (let at = 0; at < source.length; at += sectorSize)
        createCipheriv(cbc, key, ivOf(offset + at))
          .setAutoPadding(false)
          .update(source.subarray(at, at + sectorSize))
          .copy(target, at)
    },
    // one chain over all sectors: only the first block of each comes out xored with the wrong predecessor
    decrypt: (source, target, offset) => {
      const plain = createDecipheriv(cbc, key, ivOf(offset)).setAutoPadding(false).update(source)
      for (let at = sectorSize; at < source.length; at += sectorSize) {
        const iv = ivOf(offset + at)
        for (let i = 0; i < BLOCK; i += 4) {
          const wrong = source.readInt32LE(at - BLOCK + i)
          plain.writeInt32LE(plain.readInt32LE(at + i) ^ wrong ^ iv.readInt32LE(i), at + i)
        }
      }
      plain.copy(target)
    },
    wipe: () => {
      key.fill(0)
      ivInput.fill(0)
    },
  }
}
