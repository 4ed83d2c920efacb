import type { BlockDevice } from '../core/block-device.ts'
import { backupMetadata, findMetadata, type Located } from './find-metadata.ts'
import { unlock, wipeKeys } from './master-key.ts'
import { mediaSize } from './metadata.ts'
import { sectorCipher } from './sector-cipher.ts'
import type { Credentials } from './user-key.ts'
import { sectorReader, type Part } from './read.ts'
import { sectorWriter } from './write.ts'

export interface OpenOptions extends Credentials {
  /** a file of `geli backup`, used in place of the metadata on the device */
  readonly backup?: Buffer | undefined
  /** false (the default): the result has no `write` */
  readonly writable?: boolean
}

/** The decrypted device, as FreeBSD shows it under the name of the provider and `.eli`. */
export interface Provider extends BlockDevice {
  readonly located: Located
  /** the key slot that the credentials opened, 0 or 1 */
  readonly slot: number
  /** Overwrites the keys; whatever is asked of it afterwards throws. */
  readonly close: () => void
}

/**
 * Opens a provider. The credentials stay the caller's and are not needed afterwards.
 * Throws `key-rejected` for a wrong key, `verification` for missing, damaged or foreign metadata,
 * `platform` for a version or cipher that is not supported, `usage` without any credential.
 */
export const openProvider = async (device: BlockDevice, options: OpenOptions): Promise<Provider> => {
  const located =
    options.backup === undefined ? await findMetadata(device) : backupMetadata(options.backup, device)
  const { metadata, blockSize } = located
  const { slot, ...keys } = await unlock(metadata, options)

  const cipher = sectorCipher(metadata, keys)
  const size = mediaSize(metadata, blockSize)
  const part: Part = { device, cipher, size, sectorSize: metadata.sectorsize }
  const { write, flush } = device
  return {
    located,
    slot,
    size,
    read: sectorReader(part),
    ...(options.writable === true && write !== undefined ? { write: sectorWriter(part, write) } : {}),
    ...(flush === undefined ? {} : { flush }),
    close: () => {
      cipher.wipe()
      wipeKeys(keys)
    },
  }
}
