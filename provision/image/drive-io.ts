import { KnoxError } from '../core/errors.ts'
import type { OpenDrive } from './open-drive.ts'

/** Reading and writing a drive that may stop to answer, for an owner who may want an end. */

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const stopped = (what: string, offset: number, error: unknown): unknown => {
  const code = codeOf(error)
  // without a code it is no answer of the system but a bug
  if (error instanceof KnoxError || code === undefined || code.startsWith('ERR_')) return error
  return new KnoxError(
    'disk',
    `the drive stopped ${what} at byte ${offset} (${code})`,
    ['it was pulled out or is broken', 'the card is not complete: flash it again, or another one'],
    { cause: error },
  )
}

/** As the drive's read; throws `disk` with the offset if the drive fails. */
export const readDrive = (drive: OpenDrive, offset: number, into: Buffer): Promise<void> =>
  drive.read(offset, into).catch((error: unknown) => {
    throw stopped('reading', offset, error)
  })

/** As the drive's write; throws `disk` with the offset if the drive fails. */
export const writeDrive = (drive: OpenDrive, offset: number, data: Buffer): Promise<void> =>
  drive.write(offset, data).catch((error: unknown) => {
    throw stopped('writing', offset, error)
  })

/** As the drive's flush; throws `disk` if the drive fails. */
export const flushDrive = (drive: OpenDrive): Promise<void> =>
  drive.flush().catch((error: unknown) => {
    throw stopped('keeping what was written', 0, error)
  })

/** Throws `interrupted` once the owner wants an end. */
export const checkStopped = (signal: AbortSignal): void => {
  if (signal.aborted) throw new KnoxError('interrupted', 'stopped')
}
