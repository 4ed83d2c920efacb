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

/**
 * One run at a time is worked on, so all providers share this. The compiler knows where constants of a module stand:
 * over arguments the loops below take half as long again.
 */
const tweaks = Buffer.alloc(RUN_BYTES)
const run = Buffer.alloc(RUN_BYTES)

const view = (bytes: Buffer): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
const words = (bytes: Buffer): BigUint64Array =>
  new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8)

const tweakFields = view(tweaks)
const tweakWords = words(tweaks)
const runWords = words(run)

/** The inputs of the tweaks: for each sector its byte offset, LE64, and zeros. */
const tweakInputs = (count: number, offset: number, sectorSize: number): Buffer => {
  const inputs = Buffer.alloc(count * BLOCK)
  const fields = view(inputs)
  for (let at = 0, position = offset; at < inputs.length; at += BLOCK, position += sectorSize) {
    fields.setUint32(at, position % HIGH, true)
    fields.setUint32(at + 4, Math.floor(position / HIGH), true)
  }
  return inputs
}

/** Lays out each of the `next` tweaks and its doubles, for `length` bytes each, and leaves in `next` those that follow. */
const layTweaks = (next: DataView, length: number): void => {
  let at = 0
  for (let chain = 0; chain < next.byteLength; chain += BLOCK) {
    // 32 bits at a time, the lowest first
    let a = next.getInt32(chain, true)
    let b = next.getInt32(chain + 4, true)
    let c = next.getInt32(chain + 8, true)
    let d = next.getInt32(chain + 12, true)
    for (const end = at + length; at < end; at += BLOCK) {
      tweakFields.setInt32(at, a, true)
      tweakFields.setInt32(at + 4, b, true)
      tweakFields.setInt32(at + 8, c, true)
      tweakFields.setInt32(at + 12, d, true)
      const carry = (d >> 31) & 0x87
      d = (d << 1) | (c >>> 31)
      c = (c << 1) | (b >>> 31)
      b = (b << 1) | (a >>> 31)
      a = (a << 1) ^ carry
    }
    next.setInt32(chain, a, true)
    next.setInt32(chain + 4, b, true)
    next.setInt32(chain + 8, c, true)
    next.setInt32(chain + 12, d, true)
  }
}

/** Of all typed arrays the compiler does this best with 64-bit ones, as long as no element gets a name. */
const xorTweaks = (length: number): void => {
  const end = length / 8
  for (let i = 0; i < end; i += 1) runWords[i] = (runWords[i] as bigint) ^ (tweakWords[i] as bigint)
}

const unpadded = <T extends Cipher | Decipher>(cipher: T): T => {
  cipher.setAutoPadding(false)
  return cipher
}

/** `key` is 32 or 64 bytes, the data key and then the tweak key; the caller may wipe it after the call. */
export const xtsTransforms = (key: Buffer, sectorSize: number): SectorTransforms => {
  const half = key.length / 2
  const ecb = `aes-${half * 8}-ecb`
  const tweaker = unpadded(createCipheriv(ecb, key.subarray(half), null))
  const forward = unpadded(createCipheriv(ecb, key.subarray(0, half), null))
  const backward = unpadded(createDecipheriv(ecb, key.subarray(0, half), null))
  const chainBytes = Math.min(sectorSize, RUN_BYTES)

  const over = (aes: Cipher | Decipher) => (source: Buffer, target: Buffer, offset: number) => {
    let next = view(Buffer.alloc(0))
    for (let start = 0; start < source.length; start += RUN_BYTES) {
      const length = Math.min(RUN_BYTES, source.length - start)
      // a sector longer than a run goes on with the tweaks that the run before has left
      if (start % sectorSize === 0)
        next = view(tweaker.update(tweakInputs(length / chainBytes, offset + start, sectorSize)))
      layTweaks(next, chainBytes)
      source.copy(run, 0, start, start + length)
      xorTweaks(length)
      aes.update(run.subarray(0, length)).copy(run)
      xorTweaks(length)
      run.copy(target, start, 0, length)
    }
  }
  const wipe = () => {
    tweaks.fill(0)
    run.fill(0)
  }
  return { encrypt: over(forward), decrypt: over(backward), wipe }
}
