import { createHash } from 'node:crypto'
import { KnoxError } from '../core/errors.ts'

/** GELI's metadata: 511 bytes at the start of the provider's last sector, after sys/geom/eli/g_eli.h of FreeBSD. */

export const METADATA_BYTES = 511
export const SLOT_BYTES = 192
export const NEWEST_VERSION = 7

/** Flags that change how sectors are laid out; no other flag on the disk does. */
export const FLAG_ONETIME = 0x01
export const FLAG_AUTH = 0x10

const MAGIC = Buffer.from('GEOM::ELI\0', 'latin1')
const SALT_BYTES = 64
const MD5_BYTES = 16
const MOST_SECTOR_BYTES = 2 ** 24

export interface Metadata {
  /** 0 to 7; FreeBSD 10.0 and later write 7 */
  readonly version: number
  readonly flags: number
  /** encryption algorithm, a CRYPTO_ number of opencrypto: 22 AES-XTS, 11 AES-CBC */
  readonly ealgo: number
  /** key length in bits, of one half with AES-XTS */
  readonly keylen: number
  /** authentication algorithm, 0 without FLAG_AUTH */
  readonly aalgo: number
  /** of the provider, in bytes */
  readonly provsize: number
  /** of the decrypted device, in bytes */
  readonly sectorsize: number
  /** bit 0: slot 0 holds a key, bit 1: slot 1 does */
  readonly keys: number
  /** of PBKDF2; 0: the passphrase is only salted, -1: made without a passphrase */
  readonly iterations: number
  /** 64 bytes */
  readonly salt: Buffer
  /** both master-key slots, 384 bytes, encrypted */
  readonly mkeys: Buffer
}

/** Version 0 has no aalgo, so all after it stands two bytes earlier. */
const shiftOf = (version: number): number => (version === 0 ? -2 : 0)

const digestOf = (sector: Buffer, end: number): Buffer =>
  createHash('md5').update(sector.subarray(0, end)).digest()

/** True if the sector begins as GELI metadata do. */
export const hasMagic = (sector: Buffer): boolean => sector.subarray(0, MAGIC.length).equals(MAGIC)

/** The error for a place where GELI metadata should be and none are. */
export const noMetadata = (where: string): KnoxError =>
  new KnoxError('verification', `there is no GELI metadata ${where}`, [
    'is this the whole provider, the disk or partition that was given to geli init?',
    'a lost last sector comes back from the metadata backup',
  ])

const damaged = (why: string): KnoxError =>
  new KnoxError('verification', `the GELI metadata is damaged: ${why}`, [
    'the metadata backup can stand in for it',
  ])

/**
 * Reads metadata from the start of a sector or of a backup file; bytes past the 511th are ignored.
 * Throws `verification` where there is none or it is damaged, `platform` for a version above 7.
 */
export const parseMetadata = (sector: Buffer): Metadata => {
  if (!hasMagic(sector)) throw noMetadata('here')
  if (sector.length < METADATA_BYTES) throw damaged(`only ${sector.length} of ${METADATA_BYTES} bytes`)
  const version = sector.readUInt32LE(16)
  if (version > NEWEST_VERSION)
    throw new KnoxError('platform', `GELI metadata of version ${version} is unknown`, [
      `versions 0 to ${NEWEST_VERSION} can be read`,
    ])
  const shift = shiftOf(version)
  const end = 495 + shift
  if (!digestOf(sector, end).equals(sector.subarray(end, end + MD5_BYTES)))
    throw damaged('its checksum does not fit')
  const sectorsize = sector.readUInt32LE(38 + shift)
  if (sectorsize < 512 || sectorsize > MOST_SECTOR_BYTES || (sectorsize & (sectorsize - 1)) !== 0)
    throw damaged(`a sector size of ${sectorsize} bytes cannot be`)
  const provsize = sector.readBigUInt64LE(30 + shift)
  if (provsize > BigInt(Number.MAX_SAFE_INTEGER))
    throw damaged(`a provider size of ${provsize.toString()} bytes cannot be`)
  const salt = 47 + shift
  const mkeys = salt + SALT_BYTES
  return {
    version,
    flags: sector.readUInt32LE(20),
    ealgo: sector.readUInt16LE(24),
    keylen: sector.readUInt16LE(26),
    aalgo: version === 0 ? 0 : sector.readUInt16LE(28),
    provsize: Number(provsize),
    sectorsize,
    keys: sector.readUInt8(42 + shift),
    iterations: sector.readInt32LE(43 + shift),
    salt: Buffer.from(sector.subarray(salt, mkeys)),
    mkeys: Buffer.from(sector.subarray(mkeys, end)),
  }
}

/** The provider's last sector of `blockSize` bytes: the metadata with its checksum, then zeros. */
export const encodeMetadata = (metadata: Metadata, blockSize = 512): Buffer => {
  const sector = Buffer.alloc(blockSize)
  const shift = shiftOf(metadata.version)
  const end = 495 + shift
  MAGIC.copy(sector)
  sector.writeUInt32LE(metadata.version, 16)
  sector.writeUInt32LE(metadata.flags, 20)
  sector.writeUInt16LE(metadata.ealgo, 24)
  sector.writeUInt16LE(metadata.keylen, 26)
  if (metadata.version > 0) sector.writeUInt16LE(metadata.aalgo, 28)
  sector.writeBigUInt64LE(BigInt(metadata.provsize), 30 + shift)
  sector.writeUInt32LE(metadata.sectorsize, 38 + shift)
  sector.writeUInt8(metadata.keys, 42 + shift)
  sector.writeInt32LE(metadata.iterations, 43 + shift)
  metadata.salt.copy(sector, 47 + shift, 0, SALT_BYTES)
  metadata.mkeys.copy(sector, 111 + shift, 0, 2 * SLOT_BYTES)
  digestOf(sector, end).copy(sector, end)
  return sector
}

/** Bytes of the decrypted device on a provider with sectors of `blockSize` bytes; not defined with FLAG_AUTH. */
export const mediaSize = (metadata: Metadata, blockSize: number): number => {
  const room = Math.max(0, metadata.provsize - blockSize)
  return room - (room % metadata.sectorsize)
}
