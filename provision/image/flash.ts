import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { BLOCK, CHUNK, isZero, LENT, placesOn, TAIL } from './chunks.ts'
import { checkStopped, readDrive } from './drive-io.ts'
import { clearHead, keptHead } from './head.ts'
import type { OpenDrive } from './open-drive.ts'
import { readBack } from './read-back.ts'
import type { ImageSource } from './source.ts'
import { writeImage } from './write-image.ts'

/** An image onto a drive, and the proof that it is there. */

export interface Flashed {
  /** of the image */
  readonly bytes: number
  /** whether zeros were left out at first, because the drive looked blank */
  readonly skippedZeros: boolean
  /** left out, and found not to be zeros on the drive: written after all */
  readonly clearedBytes: number
  readonly writeSeconds: number
  readonly readBackSeconds: number
}

export interface FlashOptions {
  readonly image: Pick<ImageSource, 'bytes' | 'chunks'>
  readonly drive: OpenDrive
  /** what the drive is called in messages */
  readonly name: string
  readonly emit: Emit
  readonly signal: AbortSignal
  /** bytes of zeros that are worth a gap between two writes; another in tests only */
  readonly block?: number
}

const SAMPLES = 64

/**
 * Whether most of the place for the image is zeros already, by samples. Then blocks of zeros are left out; on a drive
 * in use it is quicker to write them than to read that they are none, write them, and read all a second time.
 */
const looksBlank = async (drive: OpenDrive, bytes: number, block: number): Promise<boolean> => {
  const memory = drive.allocate(Math.max(block / 4, drive.sectorBytes))
  let blank = 0
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const at = Math.floor((bytes * (sample + 0.5)) / SAMPLES)
    const offset = at - (at % drive.sectorBytes)
    const found = memory.subarray(0, drive.size - offset)
    await readDrive(drive, offset, found)
    if (isZero(found)) blank += 1
  }
  return blank > SAMPLES / 2
}

const PROGRESS_SECONDS = 0.25

/** Tells how far a long step is, a few times a second. */
export const progressOf = (emit: Emit, what: string) => {
  const started = performance.now()
  let told = 0
  return (bytes: number, of: number) => {
    const seconds = (performance.now() - started) / 1000
    if (seconds - told < PROGRESS_SECONDS) return
    told = seconds
    emit({ type: 'progress', dataset: what, bytes, of, totalBytes: bytes, totalOf: of, seconds })
  }
}

const secondsSince = (started: number): number => (performance.now() - started) / 1000

/** What went wrong with the image while the drive was under way, with what that means for the drive. */
const withState = (error: unknown, state: string): unknown =>
  error instanceof KnoxError && error.code === 'verification'
    ? new KnoxError(error.code, error.message, [...error.hints, state], { cause: error })
    : error

/** A drive that does not give back what was written: nothing is to start from it. */
const condemned = async (drive: OpenDrive, name: string, wrongAt: number): Promise<KnoxError> => {
  const state = await clearHead(drive).then(
    () => 'its partition table was removed, so that nothing starts from it',
    () => 'it may look complete and is not',
  )
  return new KnoxError('verification', `byte ${wrongAt} of ${name} is not what was written there`, [
    state,
    'the card is worn out, or smaller than it says: use another one',
  ])
}

/**
 * Writes the image and reads it back; its beginning, with the partition table, when all else is proved to be there.
 * Throws `verification` with the first wrong byte, `disk` if the drive fails, `interrupted`; the drive has no partition
 * table then, unless it failed at that very last write.
 */
export const flashImage = async (options: FlashOptions): Promise<Flashed> => {
  const { image, drive, name, emit, signal, block = BLOCK } = options
  const started = performance.now()
  const skippedZeros = await looksBlank(drive, image.bytes, block)
  const skippedBlock = skippedZeros ? block : undefined

  const buffers = Array.from({ length: LENT }, () => drive.allocate(CHUNK))
  const spare = { last: drive.allocate(CHUNK), zeros: drive.allocate(TAIL) }
  const head = keptHead(drive)
  const places = () => head.keepBack(placesOn(drive, image.chunks(buffers), spare))

  emit({ type: 'step', title: `writing ${name}` })
  const tellWritten = progressOf(emit, 'written')
  await writeImage(drive, {
    places: places(),
    skippedBlock,
    signal,
    onBytes: (bytes) => tellWritten(Math.min(bytes, image.bytes), image.bytes),
  }).catch((error: unknown) => {
    throw withState(error, `${name} is not complete: flash it again`)
  })
  const writeSeconds = secondsSince(started)
  emit({ type: 'done', title: `${name} is written` })

  emit({ type: 'step', title: `reading ${name} back` })
  const reading = performance.now()
  const tellRead = progressOf(emit, 'read back')
  const { wrongAt: wrongInBody, clearedBytes } = await readBack(drive, {
    places,
    skippedBlock,
    signal,
    onBytes: (bytes, pass) =>
      tellRead(Math.min(bytes, image.bytes) + (pass - 1) * image.bytes, pass * image.bytes),
  }).catch((error: unknown) => {
    throw withState(error, `${name} is not proved to be complete: flash it again`)
  })
  checkStopped(signal)
  const wrongAt = wrongInBody ?? (await head.giveBack())
  if (wrongAt !== undefined) throw await condemned(drive, name, wrongAt)
  emit({ type: 'done', title: `${name} was read back and is right` })
  return {
    bytes: image.bytes,
    skippedZeros,
    clearedBytes,
    writeSeconds,
    readBackSeconds: secondsSince(reading),
  }
}
