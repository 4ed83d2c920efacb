import { readFile } from 'node:fs/promises'
import type { BlockDevice } from '../core/block-device.ts'
import { KnoxError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { openProvider, type Provider } from '../geli/provider.ts'
import { openBlockFile } from '../system/block-file.ts'

/** What opens a disk; the files of geli's -k, in their order, and its passphrase. */
export interface DiskKeys {
  readonly keyFiles: readonly string[]
  readonly passphrase: Secret | undefined
  /** a file of `geli backup`, where the disk's own metadata is lost */
  readonly metadataBackup: string | undefined
}

export interface OpenDisk {
  /** as it lies on the disk, encrypted */
  readonly raw: BlockDevice
  readonly provider: Provider
}

const readInput = (path: string): Promise<Buffer> =>
  readFile(path).catch((error: unknown) => {
    throw new KnoxError('config', `${path} cannot be read: ${(error as NodeJS.ErrnoException).code ?? ''}`)
  })

/**
 * Runs work with a GELI disk or image opened; afterwards its keys are wiped and it is closed.
 * Throws `key-rejected` for a wrong key, `verification` for damaged or foreign metadata, `platform` for what cannot be read,
 * `disk` if the disk cannot be opened, `config` for a key file that cannot be read.
 */
export const withOpenDisk = async <T>(
  path: string,
  keys: DiskKeys,
  writable: boolean,
  work: (disk: OpenDisk) => Promise<T>,
): Promise<T> => {
  const keyFiles = await Promise.all(keys.keyFiles.map(readInput))
  const passphrase = keys.passphrase?.reveal()
  const backup = keys.metadataBackup === undefined ? undefined : await readInput(keys.metadataBackup)
  const raw = await openBlockFile(path, { writable })
  try {
    const provider = await openProvider(raw, { keyFiles, passphrase, backup, writable }).finally(() => {
      for (const secret of keyFiles) secret.fill(0)
    })
    try {
      return await work({ raw, provider })
    } finally {
      provider.close()
    }
  } finally {
    await raw.close()
  }
}
