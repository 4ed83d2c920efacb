import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import type { Credentials } from '../../../provision/geli/user-key.ts'
import { memoryDevice, sparseDevice } from './devices.ts'

/**
 * Providers that FreeBSD's own code wrote, described by a manifest that says how each is derived.
 * A further manifest of the same format only needs its folder named: GELI_VECTORS=FOLDER.
 */

const FOLDER = process.env['GELI_VECTORS'] ?? join(import.meta.dirname, '../../fixtures/geli')

interface KeyFile {
  readonly label: string
  readonly length: number
  readonly sha256: string
}

export interface User {
  readonly uses: string
  readonly slot: number
  readonly user_key: string
  readonly keyfiles?: readonly KeyFile[]
  readonly passphrase?: string | null
}

interface Extent {
  readonly offset: number
  readonly length: number
  readonly keyno: readonly number[]
  readonly plaintext_sha256: string
  readonly ciphertext_sha256: string
  readonly ciphertext_hex: string
}

export interface Vector {
  readonly name: string
  readonly geli_command: string
  readonly provider: { readonly size: number; readonly sectorsize: number; readonly usable_size: number }
  readonly keyfiles: readonly KeyFile[]
  readonly passphrase: string | null
  readonly metadata: {
    readonly offset: number
    readonly version: number
    readonly flags: number
    readonly ealgo: number
    readonly keylen: number
    readonly aalgo: number
    readonly provsize: number
    readonly sectorsize: number
    readonly keys: number
    readonly iterations: number
    readonly salt: string
    readonly md5: string
  }
  readonly eli: {
    readonly mediasize: number
    readonly sectorsize: number
    readonly plaintext_label: string
    readonly plaintext_sha256?: string | null
  }
  readonly keys: {
    readonly users: readonly User[]
    readonly iv_key: string
    readonly data_key: string
    readonly sector_key_at_offset_0: string
    readonly sector_key_at_last_sector: string
    readonly ekeys_total: number
  }
  /** one byte that was changed after the writing; nothing opens such a provider */
  readonly damage?: { readonly offset: number; readonly xor: number; readonly expect: string }
  readonly image?: { readonly file: string; readonly size: number; readonly sha256: string }
  /** instead of an image */
  readonly extents?: readonly Extent[]
  readonly metadata_sector_hex?: string
}

interface Manifest {
  readonly format: number
  readonly vectors: readonly Vector[]
}

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** Bytes of the manifest's deterministic stream S(label). */
export const stream = (label: string, offset: number, length: number): Buffer => {
  const first = Math.floor(offset / 32)
  const count = Math.ceil((offset + length) / 32) - first
  const blocks = Array.from({ length: count }, (_, i) =>
    createHash('sha256')
      .update(`${label}#${first + i}`)
      .digest(),
  )
  return Buffer.concat(blocks).subarray(offset - first * 32, offset - first * 32 + length)
}

/** All vectors; those written by another format of manifest are an error, not a silence. */
export const vectors = ((): readonly Vector[] => {
  const manifest = JSON.parse(readFileSync(join(FOLDER, 'manifest.json'), 'utf8')) as Manifest
  if (manifest.format !== 1) throw new Error(`a manifest of format ${manifest.format}`)
  return manifest.vectors
})()

/** The vector's key files, checked against the manifest. */
export const keyFilesOf = (files: readonly KeyFile[]): Buffer[] =>
  files.map((file) => {
    const bytes = stream(file.label, 0, file.length)
    if (sha256(bytes) !== file.sha256) throw new Error(`key file ${file.label} is derived wrongly`)
    return bytes
  })

/** What one user of a vector unlocks with. */
export const credentialsOf = (vector: Vector, user: User): Credentials => {
  if (!/^(?:keyfiles|passphrase|keyfiles\+passphrase)$/.test(user.uses))
    throw new Error(`a user of ${vector.name} uses ${user.uses}`)
  const passphrase = user.passphrase ?? vector.passphrase
  return {
    keyFiles: user.uses.includes('keyfiles') ? keyFilesOf(user.keyfiles ?? vector.keyfiles) : [],
    passphrase: user.uses.includes('passphrase') ? Buffer.from(passphrase ?? '') : undefined,
  }
}

/** The image, or undefined for a sparse vector. */
export const imageOf = (vector: Vector): Buffer | undefined => {
  if (vector.image === undefined) return undefined
  const image = gunzipSync(readFileSync(join(FOLDER, vector.image.file)))
  if (sha256(image) !== vector.image.sha256) throw new Error(`the image of ${vector.name} is not the one`)
  return image
}

/** The provider, encrypted. */
export const deviceOf = async (vector: Vector): Promise<BlockDevice> => {
  const image = imageOf(vector)
  if (image !== undefined) return memoryDevice(image)
  const device = sparseDevice(vector.provider.size)
  for (const { offset, ciphertext_hex } of vector.extents ?? [])
    await device.write(offset, Buffer.from(ciphertext_hex, 'hex'))
  await device.write(vector.metadata.offset, Buffer.from(vector.metadata_sector_hex ?? '', 'hex'))
  return device
}

/** What the decrypted provider holds at an offset. */
export const plaintextOf = (vector: Vector, offset: number, length: number): Buffer =>
  stream(vector.eli.plaintext_label, offset, length)
