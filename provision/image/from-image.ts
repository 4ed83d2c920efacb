import { readdir, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { readTextIfAny } from '../system/files.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { memoryDisks } from '../tools/mdconfig.ts'
import { xzUnpack, xzUnpackedBytes } from '../tools/xz.ts'
import { checksumFor, hashFile, readChecksum } from './checksum.ts'
import { checkRoom, copyInto, makeFile } from './copy-image.ts'
import { customiseActions, customiseImage, type Customised, type CustomiseOptions } from './customise.ts'
import { progressOf } from './flash.ts'
import { openImage, type ImageSource } from './source.ts'

/** A ready image, the tutorial's or an official one, made into the box's: a copy of it is customised, never itself. */

export interface FromImageOptions extends Omit<CustomiseOptions, 'image' | 'place'> {
  /** an .img or .img.xz file; it is only read */
  readonly from: string
  /** what its SHA-256 must be, in hex; else a checksum file beside it says so */
  readonly sha256?: string
  /** the file that is made and customised; one that is there is replaced once the copy is whole */
  readonly work: string
}

export interface FromImage {
  readonly customised: Customised
  /** the file that was given: its name, and its SHA-256 in hex */
  readonly input: { readonly name: string; readonly sha256: string }
  /** of the unpacked image */
  readonly bytes: number
}

/** names under which projects put the checksums of several files into one */
const CHECKSUM_FILES = /^(?:CHECKSUM(?:S|\.SHA256.*)?|SHA256(?:SUMS?)?(?:\.txt)?)$/i

/** What a checksum file beside the image says of it: `IMAGE.sha256`, or FreeBSD's CHECKSUM.SHA256-... */
const checksumBeside = async (image: string): Promise<string | undefined> => {
  const own = await readChecksum(image)
  if (own !== undefined) return own
  const names = (await readdir(dirname(image)).catch(() => [])).filter((name) => CHECKSUM_FILES.test(name))
  for (const name of names.sort()) {
    const hex = checksumFor((await readTextIfAny(join(dirname(image), name))) ?? '', basename(image))
    if (hex !== undefined) return hex
  }
  return undefined
}

const wantedChecksum = async (image: string, given: string | undefined): Promise<string> => {
  if (given !== undefined) {
    if (!/^[0-9a-f]{64}$/i.test(given))
      throw new KnoxError('usage', `this is no SHA-256: ${JSON.stringify(given)}`, [
        '64 digits of 0-9 and a-f',
      ])
    return given.toLowerCase()
  }
  const beside = await checksumBeside(image)
  if (beside !== undefined) return beside
  throw new KnoxError('refused', `nothing says what the SHA-256 of ${image} must be`, [
    '--sha256 HEX gives it; FreeBSD publishes it as CHECKSUM.SHA256-... beside the image, which can lie beside it here too',
    'nothing was changed',
  ])
}

/** Checks the file against its SHA-256. Throws `verification` if it has another one. */
const checkSum = async (options: FromImageOptions): Promise<string> => {
  const { from, sha256, emit, signal } = options
  const wanted = await wantedChecksum(from, sha256)
  const title = `checking ${from}`
  emit({ type: 'step', title })
  const found = await hashFile(from, signal, progressOf(emit, 'checked')).catch((error: unknown) => {
    if (signal.aborted) throw new KnoxError('interrupted', 'stopped', [], { cause: error })
    throw error
  })
  if (found !== wanted)
    throw new KnoxError('verification', `${from} is not the image it should be`, [
      `SHA-256 ${found}, expected ${wanted}`,
      'nothing was changed; fetch it again',
    ])
  emit({ type: 'done', title: `${from} has the right checksum` })
  return found
}

/** Every command that fromImage runs, in order, as words; nothing is read or run. Copying needs none. */
export const fromImageActions = async ({
  from,
  work,
  config,
  time,
}: Pick<FromImageOptions, 'from' | 'work' | 'config' | 'time'>): Promise<readonly (readonly string[])[]> => {
  const isPacked = from.endsWith('.xz')
  return [
    // its size, then its first sector
    ...(isPacked ? [xzUnpackedBytes(from).argv, xzUnpack(from)] : []),
    memoryDisks.argv,
    ...(isPacked ? [xzUnpack(from)] : []),
    ...(await customiseActions(config, work, time === undefined ? {} : { time })),
  ]
}

/** An image that was looked at, and has the right checksum. */
export interface Ready {
  readonly source: ImageSource
  readonly input: FromImage['input']
}

/**
 * Looks at the image, and then whether it can be customised where the runner is, before anything large is read; then checks
 * its SHA-256. Throws `usage`, `config`, `platform`, `refused` if nothing says what the checksum must be, `verification`.
 */
export const checkReady = async (options: FromImageOptions, runner: Runner): Promise<Ready> => {
  const { from, sha256, emit } = options
  if (sha256 !== undefined) await wantedChecksum(from, sha256)
  const source = await openImage(from, runnerAt(HERE, emit))
  await runner.read(memoryDisks)
  return { source, input: { name: basename(from), sha256: await checkSum(options) } }
}

/**
 * Checks the image's SHA-256, copies or unpacks it to `work`, and customises that. Throws `refused` if nothing says what
 * the checksum must be, `verification` if it is another or the image is damaged, `config` if it is no image, `no-space`,
 * and what customiseImage throws; `work` is gone then.
 */
export const fromImage = async (options: FromImageOptions, ready?: Ready): Promise<FromImage> => {
  const { from, work, emit, signal } = options
  if (resolve(from) === resolve(work))
    throw new KnoxError('usage', `${work} cannot be made from itself`, ['choose another name for the copy'])
  const { source, input } = ready ?? (await checkReady(options, runnerAt(HERE, emit)))
  await checkRoom(work, source.bytes)
  emit({ type: 'step', title: `copying ${from}` })
  const copy = await makeFile(work, (file) => copyInto(file, source, { emit, signal, what: 'copied' }))
  await copy.finish()
  emit({ type: 'done', title: `${from} is copied` })
  const customised = await customiseImage({ ...options, image: work }).catch(async (error: unknown) => {
    await rm(work, { force: true })
    throw error
  })
  return { customised, input, bytes: source.bytes }
}
