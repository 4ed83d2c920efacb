import { cipherName } from '../geli/cipher.ts'
import { findMetadata, type Located } from '../geli/find-metadata.ts'
import { mediaSize } from '../geli/metadata.ts'
import { openBlockFile } from '../system/block-file.ts'

/** What a GELI disk tells without its key. */
export interface DiskInfo {
  readonly path: string
  /** of the whole disk, in bytes */
  readonly size: number
  readonly version: number
  /** such as AES-XTS 128 */
  readonly cipher: string
  /** of the decrypted disk, in bytes */
  readonly sectorSize: number
  readonly decryptedSize: number
  /** slots that hold a key, 0 and 1 */
  readonly slots: readonly number[]
  readonly opensWith: 'key file' | 'passphrase, perhaps with a key file'
}

const infoOf = (path: string, size: number, { metadata, blockSize }: Located): DiskInfo => ({
  path,
  size,
  version: metadata.version,
  cipher: cipherName(metadata).toUpperCase(),
  sectorSize: metadata.sectorsize,
  decryptedSize: mediaSize(metadata, blockSize),
  slots: [0, 1].filter((slot) => (metadata.keys & (1 << slot)) !== 0),
  opensWith: metadata.iterations === -1 ? 'key file' : 'passphrase, perhaps with a key file',
})

/** Reads the metadata of a disk or image, without any key. Throws as findMetadata and openBlockFile do. */
export const describeGeli = async (path: string): Promise<DiskInfo> => {
  const file = await openBlockFile(path)
  try {
    return infoOf(path, file.size, await findMetadata(file))
  } finally {
    await file.close()
  }
}
