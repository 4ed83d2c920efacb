import { createCipheriv, createDecipheriv, type Cipher, type Decipher } from 'node:crypto'
import type { SectorTransforms } from './transform.ts'

/**
 * AES-XTS over runs of sectors. Node makes one cipher object for each tweak, which costs more than a sector of 512 bytes does.
 * So the tweak chains of a whole run are laid out here (doublings in GF(2^128), IEEE 1619), and AES runs once over all of it:
 * out = AES(in xor tweaks) xor tweaks.
 */

/** stays in the processor's cache */
const RUN_BYTES = 65_536
const BLOCK = 16
const HIGH = 2 ** 32

const view = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)

/** The inputs of the tweaks: for each sector its byte offset, LE64, and zeros. */
const layInputs = (inputs: Buffer, offset: number, sectorSize: number): Buffer => {
  const fields = view(inputs)
  for (let at = 0, position = offset; at < inputs.length; at += BLOCK, position += sectorSize) {
    fields.setUint32(at, position % HIGH, true)
    fields.setUint32(at + 4, Math.floor(position / HIGH), true)
  }
  return inputs
}

/** Each sector's first tweak, then its doubles for the sector's other blocks; 32 bits at a time, lowest first. */
const layTweaks = (tweaks: DataView, firsts: DataView, sectorSize: number): void => {
  let at = 0
  for (let sector = 0; sector < firsts.byteLength; sector += BLOCK) {
    let a = firsts.getInt32(sector, true)
    let b = firsts.getInt32(sector + 4, true)
    let c = firsts.getInt32(sector + 8, true)
    let d = firsts.getInt32(sector + 12, true)
    for (const end = at + sectorSize; at < end; at += BLOCK) {
      tweaks.setInt32(at, a, true)
      tweaks.setInt32(at + 4, b, true)
      tweaks.setInt32(at + 8, c, true)
      tweaks.setInt32(at + 12, d, true)
      const carry = (d >> 31) & 0x87
      d = (d << 1) | (c >>> 31)
      c = (c << 1) | (b >>> 31)
      b = (b << 1) | (a >>> 31)
      a = (a << 1) ^ carry
    }
  }
}

/** The same memory in words of 64 bits, or a copy of it where it does not begin at one. */
const wordsOf = (bytes: Buffer): BigUint64Array => {
  const aligned = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes)
  return new BigUint64Array(aligned.buffer, aligned.byteOffset, aligned.length / 8)
}

/** The compiler makes machine words of a BigUint64Array's elements, also of four in a row, as long as none has a name. */
const xor = (target: BigUint64Array, source: BigUint64Array, mask: BigUint64Array): void => {
  for (let i = 0; i < source.length; i += 4) {
    target[i] = (source[i] as bigint) ^ (mask[i] as bigint)
    target[i + 1] = (source[i + 1] as bigint) ^ (mask[i + 1] as bigint)
    target[i + 2] = (source[i + 2] as bigint) ^ (mask[i + 2] as bigint)
    target[i + 3] = (source[i + 3] as bigint) ^ (mask[i + 3] as bigint)
  }
}

const plainEcb = <T extends Cipher | Decipher>(cipher: T): T => {
  cipher.setAutoPadding(false)
  return cipher
}

/** `key` is 32 or 64 bytes, the data key and then the tweak key; the caller may wipe it after the call. */
export const xtsTransforms = (key: Buffer, sectorSize: number): SectorTransforms => {
  const half = key.length / 2
  const ecb = `aes-${half * 8}-ecb`
  const tweaker = plainEcb(createCipheriv(ecb, key.subarray(half), null))
  const forward = plainEcb(createCipheriv(ecb, key.subarray(0, half), null))
  const backward = plainEcb(createDecipheriv(ecb, key.subarray(0, half), null))

  const runBytes = Math.max(RUN_BYTES, sectorSize)
  const inputs = Buffer.alloc((runBytes / sectorSize) * BLOCK)
  const tweaks = Buffer.alloc(runBytes)
  const data = Buffer.alloc(runBytes)
  const tweakView = view(tweaks)
  const tweakWords = wordsOf(tweaks)
  const dataWords = wordsOf(data)

  const over = (aes: Cipher | Decipher) => (source: Buffer, target: Buffer, offset: number) => {
    for (let start = 0; start < source.length; start += runBytes) {
      const length = Math.min(runBytes, source.length - start)
      const first = inputs.subarray(0, (length / sectorSize) * BLOCK)
      layTweaks(tweakView, view(tweaker.update(layInputs(first, offset + start, sectorSize))), sectorSize)
      xor(dataWords, wordsOf(source.subarray(start, start + length)), tweakWords)
      const done = wordsOf(aes.update(data.subarray(0, length)))
      const part = target.subarray(start, start + length)
      if (part.byteOffset % 8 === 0) xor(wordsOf(part), done, tweakWords)
      else {
        xor(done, done, tweakWords)
        part.set(new Uint8Array(done.buffer, done.byteOffset, length))
      }
    }
  }
  const wipe = () => {
    tweaks.fill(0)
    data.fill(0)
  }
  return { encrypt: over(forward), decrypt: over(backward), wipe }
}
