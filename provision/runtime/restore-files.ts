import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import type { Secret } from '../core/secret.ts'
import { withLock } from '../system/lock.ts'
import type { Result } from '../system/process.ts'
import { HERE, runnerAt, type Place } from '../system/runner.ts'
import {
  amountIn,
  checksums,
  isThere,
  LOOK,
  lookAt,
  lookAway,
  packArgv,
  unpackByNumber,
  type Amount,
} from '../tools/tar.ts'
import { withOpenBox, type OpenBox } from './open-box.ts'
import { pour, receiverFailure } from './pour.ts'
import { withRetries } from './retry.ts'
import { LIMITS, SLOWEST_DIGEST } from './session.ts'
import { prepareBox } from './target.ts'

export interface FilesOptions {
  /** the dataset on the box */
  readonly source: string
  /** the newest one if undefined */
  readonly snapshot: string | undefined
  /** a file or a folder, from the top of the dataset; `.` is all of it */
  readonly path: string
  /** a folder at home that does not exist or is empty */
  readonly target: string
}

export interface FilesReport {
  readonly snapshot: string
  readonly files: number
  readonly target: string
}

const checkPath = (path: string): void => {
  if (path === '' || path.startsWith('/') || /\p{Cc}/u.test(path) || path.split('/').includes('..'))
    throw new KnoxError('usage', `${JSON.stringify(path)} is not a path within a dataset`, [
      'it begins at the top of the dataset, without a slash, such as 2015/cat.jpg; . is all of it',
    ])
}

const emptyFolder = async (target: string): Promise<string> => {
  const folder = resolve(target)
  await mkdir(folder, { recursive: true })
  if ((await readdir(folder)).length > 0)
    throw new KnoxError('refused', `${folder} is not empty`, ['nothing was changed; choose another --to'])
  return folder
}

/** What grows, looked at every so many seconds. */
const trackGrowth = (look: () => Promise<Amount>, every: number) => {
  let seen = ''
  let changed = performance.now()
  let isLooking = false
  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    // where it cannot be told, nothing is given up
    const now = look().then(JSON.stringify, () => undefined)
    void now.then((text) => {
      isLooking = false
      if (text !== seen) changed = performance.now()
      seen = text ?? ''
    })
  }, every * 1000)
  return {
    idleSeconds: () => (performance.now() - changed) / 1000,
    end: () => clearInterval(timer),
  }
}

/**
 * Brings a file or folder of the mounted snapshot into a folder at home. Throws `connection-lost`, also if nothing came for `stalled`
 * seconds, `no-space` if there is no room at home, or `failed` if not all came.
 */
export const copyFromBox = async (
  { place }: OpenBox,
  path: string,
  folder: string,
  emit: Emit,
  stalled = LIMITS.stalled,
): Promise<void> => {
  const argv = packArgv(path)
  emit({ type: 'command', argv, where: place.name })
  const growth = trackGrowth(() => runnerAt(HERE, emit).read(amountIn(folder)), stalled / 4)
  const { sent, received, isRefused } = await pour(place.wrap(argv), unpackByNumber(folder), {
    onStderr: () => undefined,
    idleSeconds: growth.idleSeconds,
    stalled,
    what: 'while it sent the files',
    hint: `${folder} holds a part; remove it and run it again`,
  }).finally(growth.end)
  const said = ({ stderr }: Result) => [printable(stderr.trim().split('\n').at(-1) ?? '')]
  if (sent.exitCode !== 0 && !isRefused && sent.signal !== 'SIGPIPE')
    throw new KnoxError('failed', 'the files did not all come: the box could not read them', said(sent))
  if (received.exitCode !== 0)
    throw receiverFailure(
      received,
      'failed',
      'the files did not all come: they could not be written at home',
      said(received),
    )
}

/** seconds for a comparison, besides those for each byte and each file or folder that the slowest box reads */
const COMPARE_SECONDS = 600
const SECONDS_A_FILE = 0.1

const secondsToRead = ({ bytes, files }: Amount): number =>
  COMPARE_SECONDS + bytes / SLOWEST_DIGEST + files * SECONDS_A_FILE

/**
 * Brings what `restoreFiles` does from a box that is open into an empty folder.
 * Throws `config` if there is no such dataset, snapshot or path, `verification` if a file differs, and what `copyFromBox` throws.
 */
export const bringFiles = async (
  open: OpenBox,
  { source, path, snapshot: wanted }: FilesOptions,
  folder: string,
  emit: Emit,
): Promise<FilesReport> => {
  const dataset = open.inventory.datasets.find(({ name }) => name === source)
  const snapshot =
    wanted === undefined ? dataset?.snapshots.at(-1) : dataset?.snapshots.find(({ name }) => name === wanted)
  if (snapshot === undefined)
    throw new KnoxError('config', `the box has no ${source}@${wanted ?? ''}`, [
      'knox restore --list shows what it has',
    ])
  await open.runner.act(lookAt(`${source}@${snapshot.name}`))
  try {
    if (!(await open.runner.read(isThere(LOOK, path))))
      throw new KnoxError('config', `there is no ${path} in ${source}@${snapshot.name}`, [
        'the path begins at the top of the dataset, without a slash',
      ])
    await copyFromBox(open, path, folder, emit)
    emit({ type: 'step', title: 'comparing the files with the box' })
    const seconds = secondsToRead(await runnerAt(HERE, emit).read(amountIn(folder)))
    const sumsAt = (place: Place, top: string) => runnerAt(place, emit, seconds).read(checksums(top, path))
    const [theirs, ours] = await Promise.all([sumsAt(open.place, LOOK), sumsAt(HERE, folder)])
    if (theirs.join('\n') !== ours.join('\n'))
      throw new KnoxError('verification', `the files in ${folder} are not those of the box`, [
        'remove the folder and run it again',
      ])
    return { snapshot: snapshot.name, files: theirs.length, target: join(folder, path) }
  } finally {
    await open.runner.act(lookAway()).catch(() => undefined)
  }
}

/**
 * Brings a file or a folder of one snapshot to home, and compares every file with the box by its checksum.
 * Throws `config` if there is no such dataset, snapshot or path, `refused` if the target is not empty, `verification` if a file differs.
 * A connection that breaks is made anew, `home.retries` times; then all of it comes again.
 */
export const restoreFiles = async (
  config: Config,
  options: FilesOptions,
  passphrase: Secret,
  emit: Emit,
): Promise<FilesReport> => {
  checkPath(options.path)
  const folder = await emptyFolder(options.target)
  const box = await prepareBox(config)
  return withLock(box.folder, () =>
    withRetries(config.home.retries, emit, () =>
      withOpenBox(box, passphrase, emit, (open) => bringFiles(open, options, folder, emit)),
    ),
  )
}
