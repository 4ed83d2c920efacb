import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Secret } from '../core/secret.ts'
import { withLock } from '../system/lock.ts'
import { openChannel } from '../system/process.ts'
import { HERE, runnerAt, type Place } from '../system/runner.ts'
import {
  amountIn,
  checksums,
  isThere,
  LOOK,
  lookAt,
  lookAway,
  packArgv,
  unpackArgv,
  type Amount,
} from '../tools/tar.ts'
import { SLOWEST_DIGEST } from './session.ts'
import { lost } from './session-failures.ts'
import { prepareBox } from './target.ts'
import { withOpenBox, type OpenBox } from './unlock.ts'

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

/** Brings a file or folder of the mounted snapshot into a folder at home. Throws `connection-lost`, or `failed` if not all came. */
export const copyFromBox = async (
  { place }: OpenBox,
  path: string,
  folder: string,
  emit: Emit,
): Promise<void> => {
  const receiver = openChannel(unpackArgv(folder))
  const argv = packArgv(path)
  emit({ type: 'command', argv, where: place.name })
  const sent = await receiver.feed(place.wrap(argv), () => undefined).ended
  receiver.end()
  const received = await receiver.ended
  if (sent.exitCode === 255) throw lost('while it sent the files')
  for (const [end, what] of [
    [sent, 'the box could not read them'],
    [received, 'they could not be written at home'],
  ] as const)
    if (end.exitCode !== 0 && end.signal !== 'SIGPIPE')
      throw new KnoxError('failed', `the files did not all come: ${what}`, [
        end.stderr.trim().split('\n').at(-1) ?? '',
      ])
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
    withOpenBox(box, passphrase, emit, (open) => bringFiles(open, options, folder, emit)),
  )
}
