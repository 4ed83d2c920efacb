import { cbcTransforms } from './cbc.ts'
import { supportedCipher } from './cipher.ts'
import type { MasterKeys } from './master-key.ts'
import type { Metadata } from './metadata.ts'
import { keySpan, sectorKey } from './sector-key.ts'
import type { SectorTransforms } from './transform.ts'
import { xtsTransforms } from './xts.ts'

/** A disk of 4 TiB with sectors of 4 KiB has 1024 keys; readers stay near a few places. */
const KEPT = 8

/** `make`s what is asked for and keeps the `KEPT` last used; the others are wiped. */
const keepLast = (make: (keyno: number) => SectorTransforms) => {
  const kept = new Map<number, SectorTransforms>()
  return {
    get: (keyno: number): SectorTransforms => {
      const found = kept.get(keyno) ?? make(keyno)
      kept.delete(keyno)
      kept.set(keyno, found) // now the youngest
      const [oldest] = kept.keys()
      if (kept.size > KEPT && oldest !== undefined) {
        kept.get(oldest)?.wipe()
        kept.delete(oldest)
      }
      return found
    },
    wipe: () => {
      for (const transforms of kept.values()) transforms.wipe()
      kept.clear()
    },
  }
}

/**
 * Encrypts and decrypts the provider's sectors, any number at once; offset and length are multiples of the sector size.
 * The master keys must live as long as it does: later sectors have other keys. Throws `platform` for an unsupported cipher.
 */
export const sectorCipher = (metadata: Metadata, keys: MasterKeys): SectorTransforms => {
  const { version, sectorsize } = metadata
  const { mode, keyBytes } = supportedCipher(metadata)
  const span = keySpan(version, sectorsize)
  const cache = keepLast((keyno) => {
    const key = sectorKey(version, keys, keyno)
    try {
      return mode === 'xts'
        ? xtsTransforms(key.subarray(0, 2 * keyBytes), sectorsize)
        : cbcTransforms(key.subarray(0, keyBytes), keys.ivKey, sectorsize)
    } finally {
      key.fill(0)
    }
  })

  let wiped = false

  const each = (way: 'encrypt' | 'decrypt') => (source: Buffer, target: Buffer, offset: number) => {
    if (wiped) throw new Error('this GELI provider is closed')
    if (offset % sectorsize !== 0 || source.length % sectorsize !== 0 || target.length < source.length)
      throw new RangeError(`${source.length} bytes at ${offset} are not whole sectors of ${sectorsize}`)
    for (let at = 0; at < source.length;) {
      const keyno = Math.floor((offset + at) / span)
      const end = Math.min(source.length, (keyno + 1) * span - offset)
      cache.get(keyno)[way](source.subarray(at, end), target.subarray(at, end), offset + at)
      at = end
    }
  }
  const wipe = () => {
    wiped = true
    cache.wipe()
  }
  return { encrypt: each('encrypt'), decrypt: each('decrypt'), wipe }
}
