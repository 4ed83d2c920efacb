import fc from 'fast-check'
import { KnoxError } from '../../provision/core/errors.ts'
import type { Event } from '../../provision/core/events.ts'
import { LENT, TAIL } from '../../provision/image/chunks.ts'
import { flashImage, type Flashed } from '../../provision/image/flash.ts'
import { fakeDrive, type FakeDrive, type Faults } from './fake-drive.ts'

/** Images and drives for the tests of flashing, and what must hold of a drive whatever happened to it. */

export const SECTOR = 64
export const BLOCK = 2 * SECTOR

interface Case {
  readonly image: Buffer
  readonly chunk: number
  /** what was on the drive before */
  readonly prior: Buffer
}

export const filled = (kind: number, length: number): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => (kind === 0 ? 0 : ((at * 31 + kind) % 255) + 1)))

/** Runs of zeros and of bytes that are none, so that both whole blocks and parts of them occur. */
const content = (most: number) =>
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 3 * BLOCK })), {
      minLength: 1,
      maxLength: most,
    })
    .map((runs) => Buffer.concat(runs.map(([kind, length]) => filled(kind, length))))

export const cases: fc.Arbitrary<Case> = fc
  .record({
    image: content(12),
    chunk: fc.integer({ min: 1, max: 6 }).map((sectors) => sectors * SECTOR),
    before: content(12),
    blank: fc.boolean(),
    more: fc.integer({ min: 0, max: 40 }),
  })
  .map(({ image, chunk, before, blank, more }) => {
    const prior = Buffer.alloc((Math.ceil(image.length / SECTOR) + more) * SECTOR)
    if (!blank) for (let at = 0; at < prior.length; at += before.length) before.copy(prior, at)
    // a stain on a drive that looks blank
    else before.copy(prior, Math.floor(prior.length / 2), 0, BLOCK)
    return { image, chunk, prior }
  })

/** As an image's own chunks: each is good until the third next is asked for, and wrong from then on. */
export async function* chunksOf(image: Buffer, chunk: number): AsyncGenerator<Buffer> {
  const lent: Buffer[] = []
  for (let at = 0; at < image.length; at += chunk) {
    if (lent.length >= LENT) lent.shift()?.fill(0xee)
    const data = Buffer.from(image.subarray(at, at + chunk))
    lent.push(data)
    yield await Promise.resolve(data)
  }
}

export const flash = (
  drive: FakeDrive,
  { image, chunk }: Case,
  more: { signal?: AbortSignal; emit?: (event: Event) => void } = {},
) =>
  flashImage({
    image: { bytes: image.length, chunks: () => chunksOf(image, chunk) },
    drive,
    name: '/dev/fake',
    emit: more.emit ?? (() => undefined),
    signal: more.signal ?? new AbortController().signal,
    block: BLOCK,
  })

/** What the whole drive has to be afterwards. */
export const wanted = ({ image, prior }: Case): Buffer => {
  const all = Buffer.from(prior)
  const end = Math.ceil(image.length / SECTOR) * SECTOR
  all.fill(0, 0, end)
  image.copy(all)
  return all.fill(0, Math.max(end, prior.length - TAIL))
}

/** As the drive itself tells it. */
export const contentOf = async (drive: FakeDrive): Promise<Buffer> => {
  const all = Buffer.alloc(drive.size)
  await drive.read(0, all)
  return all
}

export const driveOf = ({ prior }: Case, faults: Faults = {}) => fakeDrive(Buffer.from(prior), SECTOR, faults)

/** Runs; what it returned or threw. */
export const outcome = async (work: Promise<Flashed>): Promise<Flashed | KnoxError> => {
  try {
    return await work
  } catch (error) {
    if (error instanceof KnoxError) return error
    throw error
  }
}

/**
 * Where the first chunk of the image is on a drive, all of the image is: the drive may look finished only then.
 * An image whose first chunk is zeros looks like nothing anyway.
 */
export const looksRight = (drive: FakeDrive, { image, chunk, prior }: Case): boolean => {
  const head = image.subarray(0, chunk)
  if (drive.content.equals(prior) || !drive.content.subarray(0, head.length).equals(head)) return true
  return head.every((byte) => byte === 0) || drive.content.subarray(0, image.length).equals(image)
}

export const hasHead = (drive: FakeDrive, { image, chunk }: Case): boolean => {
  const head = drive.content.subarray(0, Math.min(chunk, image.length))
  const isText = 'this drive is not finished: flash it again\n'.startsWith(head.subarray(0, 43).toString())
  return !isText && head.some((byte) => byte !== 0)
}
