import { createCipheriv, createDecipheriv, createHash, createHmac } from 'node:crypto'
import { encodeMetadata, type Metadata } from '../../../provision/geli/metadata.ts'
import { sealSlot } from '../../../provision/geli/master-key.ts'
import { userKey } from '../../../provision/geli/user-key.ts'

/** The sector cipher once more, as plainly as it can be said: one sector, one cipher object of node's, BigInt offsets. */

export const KEYS = {
  ivKey: createHash('sha512').update('iv').digest(),
  dataKey: createHash('sha512').update('data').digest(),
}
export const KEY_FILE = Buffer.from('a key file of any length')

const le64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

const keyAt = ({ version, sectorsize }: Metadata, offset: bigint): Buffer => {
  if (version < 5) return KEYS.dataKey
  const keyno = offset / BigInt(sectorsize) / 2n ** 20n
  const parent = version === 7 ? KEYS.dataKey : KEYS.ivKey
  return createHmac('sha512', parent)
    .update(Buffer.concat([Buffer.from('ekey'), le64(keyno)]))
    .digest()
}

/** One sector, encrypted or decrypted. */
export const naive = (metadata: Metadata, way: 'encrypt' | 'decrypt', sector: Buffer, at: number): Buffer => {
  const make = way === 'encrypt' ? createCipheriv : createDecipheriv
  const { ealgo, keylen } = metadata
  const offset = BigInt(at)
  const key = keyAt(metadata, offset)
  const cipher =
    ealgo === 22
      ? make(
          `aes-${keylen}-xts`,
          key.subarray(0, (2 * keylen) / 8),
          Buffer.concat([le64(offset), Buffer.alloc(8)]),
        )
      : make(
          `aes-${keylen}-cbc`,
          key.subarray(0, keylen / 8),
          createHash('sha256')
            .update(Buffer.concat([KEYS.ivKey, le64(offset)]))
            .digest()
            .subarray(0, 16),
        )
  cipher.setAutoPadding(false)
  return Buffer.concat([cipher.update(sector), cipher.final()])
}

/** Any number of whole sectors. */
export const naiveRun = (
  metadata: Metadata,
  way: 'encrypt' | 'decrypt',
  bytes: Buffer,
  at: number,
): Buffer => {
  const sectors: Buffer[] = []
  for (let from = 0; from < bytes.length; from += metadata.sectorsize)
    sectors.push(naive(metadata, way, bytes.subarray(from, from + metadata.sectorsize), at + from))
  return Buffer.concat(sectors)
}

/** What can differ between providers without a passphrase. */
export interface Shape {
  readonly version: number
  readonly ealgo: number
  readonly keylen: number
  readonly sectorsize: number
}

export const SHAPES: readonly Omit<Shape, 'sectorsize'>[] = [
  ...[5, 6, 7].flatMap((version) => [128, 256].map((keylen) => ({ version, ealgo: 22, keylen }))),
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((version) =>
    [128, 192, 256].map((keylen) => ({ version, ealgo: 11, keylen })),
  ),
]

/** Metadata whose slot 1 opens with KEY_FILE and holds KEYS. */
export const metadataOf = async (shape: Shape, provsize: number): Promise<Metadata> => {
  const bare: Metadata = {
    ...shape,
    flags: 0,
    aalgo: 0,
    provsize,
    keys: 2,
    iterations: -1,
    salt: Buffer.alloc(64, 0x55),
    mkeys: Buffer.alloc(384, 0xaa),
  }
  const slot = sealSlot(bare, KEYS, await userKey(bare, { keyFiles: [KEY_FILE] }))
  return { ...bare, mkeys: Buffer.concat([Buffer.alloc(192), slot]) }
}

/** The provider's last sector, with garbage after the metadata as FreeBSD 10 leaves it. */
export const lastSector = (metadata: Metadata, blockSize: number): Buffer => {
  const sector = Buffer.alloc(blockSize, 0xee)
  encodeMetadata(metadata).copy(sector, 0, 0, 511)
  return sector
}
