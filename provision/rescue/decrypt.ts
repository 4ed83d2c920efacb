import { open, rm } from 'node:fs/promises'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { exists } from '../system/files.ts'
import type { OpenDisk } from './open-disk.ts'

const CHUNK = 4 * 1024 * 1024

const isZero = (bytes: Buffer): boolean =>
  bytes.length === 0 || (bytes[0] === 0 && bytes.equals(Buffer.alloc(bytes.length)))

export interface Decrypted {
  /** of the decrypted device, in bytes */
  readonly size: number
  /** bytes that were written; the rest are holes */
  readonly written: number
}

/**
 * Decrypts a whole disk into a new file of mode 0600. What was never written, on the disk or in it, becomes a hole: an encrypted
 * sector that is all zeros was not made by a cipher. Memory does not grow with the disk.
 * Throws `refused` if the file exists, `no-space` if it does not fit; a file that is not complete is removed.
 */
export const decryptToFile = async (
  { raw, provider }: OpenDisk,
  path: string,
  emit: Emit,
  stopped: AbortSignal,
): Promise<Decrypted> => {
  if (await exists(path)) throw new KnoxError('refused', `${path} exists already`, ['nothing was changed'])
  const { size } = provider
  const file = await open(path, 'wx', 0o600)
  const started = Date.now()
  let written = 0
  try {
    await file.truncate(size)
    for (let offset = 0; offset < size; offset += CHUNK) {
      if (stopped.aborted)
        throw new KnoxError('interrupted', 'stopped; the file was not complete and is removed')
      const length = Math.min(CHUNK, size - offset)
      if (!isZero(await raw.read(offset, length))) {
        const plain = await provider.read(offset, length)
        if (!isZero(plain)) {
          for (let done = 0; done < length;)
            done += (await file.write(plain, done, length - done, offset + done)).bytesWritten
          written += length
        }
      }
      const bytes = offset + length
      const seconds = (Date.now() - started) / 1000
      emit({ type: 'progress', dataset: path, bytes, of: size, totalBytes: bytes, totalOf: size, seconds })
    }
    await file.sync()
    await file.close()
    return { size, written }
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(path, { force: true })
    throw (error as NodeJS.ErrnoException).code === 'ENOSPC'
      ? new KnoxError('no-space', `there is no room for ${path}`, [`it needs up to ${size} bytes`])
      : error
  }
}
