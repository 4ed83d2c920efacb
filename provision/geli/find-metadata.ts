import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'
import { hasMagic, METADATA_BYTES, noMetadata, parseMetadata, type Metadata } from './metadata.ts'

/** Where the metadata of a device stands. */
export interface Located {
  readonly metadata: Metadata
  /** of the metadata, in bytes */
  readonly offset: number
  /** sector size of the provider, in bytes: the metadata fills its last sector */
  readonly blockSize: number
}

/** The provider's sector size stands nowhere, so each is tried, the usual ones first. */
const BLOCK_SIZES = [512, 4096, 1024, 2048, 8192, 16_384, 32_768, 65_536, 131_072]

/** md(4) cuts a file to whole sectors before GELI sees it. */
const usableSize = (device: BlockDevice, blockSize: number): number => device.size - (device.size % blockSize)

const otherSize = (provsize: number, size: number): KnoxError =>
  new KnoxError(
    'verification',
    `the GELI metadata belongs to a provider of ${provsize} bytes, and this one has ${size}`,
    ['is this the whole provider, the disk or partition that was given to geli init?'],
  )

/** The metadata, or why there is none for a provider of this size. */
const readAt = (sector: Buffer, size: number): Metadata | KnoxError => {
  try {
    const metadata = parseMetadata(sector)
    return metadata.provsize === size ? metadata : otherSize(metadata.provsize, size)
  } catch (error) {
    if (error instanceof KnoxError) return error
    throw error
  }
}

/** How much of the end of a device can hold metadata, in bytes: the largest of its sectors. */
export const LONGEST_END = Math.max(...BLOCK_SIZES)

/** Whether the end of a device, of LONGEST_END bytes or all of a smaller one, has GELI's mark, be the metadata good or not. */
export const isMarked = (end: Buffer): boolean =>
  BLOCK_SIZES.some((blockSize) => blockSize <= end.length && hasMagic(end.subarray(end.length - blockSize)))

/**
 * Finds the metadata at the end of a device, without a key.
 * Throws `verification` where there is none, it is damaged or of another provider size, `platform` for a version above 7.
 */
export const findMetadata = async (device: BlockDevice): Promise<Located> => {
  let failure: KnoxError | undefined
  for (const blockSize of BLOCK_SIZES) {
    const size = usableSize(device, blockSize)
    if (size < blockSize) continue
    const offset = size - blockSize
    const sector = await device.read(offset, METADATA_BYTES)
    if (!hasMagic(sector)) continue
    const found = readAt(sector, size)
    if (!(found instanceof KnoxError)) return { metadata: found, offset, blockSize }
    failure ??= found
  }
  throw failure ?? noMetadata('at the end of this device')
}

/**
 * Metadata from a backup file (`geli backup`) for the device it was taken from, whose own may be lost.
 * The file is as long as the provider's last sector. Throws as findMetadata does.
 */
export const backupMetadata = (backup: Buffer, device: BlockDevice): Located => {
  const blockSize = BLOCK_SIZES.includes(backup.length) ? backup.length : 512
  const size = usableSize(device, blockSize)
  const metadata = readAt(backup, size)
  if (metadata instanceof KnoxError) throw metadata
  return { metadata, offset: size - blockSize, blockSize }
}
