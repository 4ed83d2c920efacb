import { mkdir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Secret } from '../core/secret.ts'
import { withLock } from '../system/lock.ts'
import { openChannel } from '../system/process.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { checksums, LOOK, lookAt, lookAway, packArgv, unpackArgv } from '../tools/tar.ts'
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
  const { source, path } = options
  checkPath(path)
  const folder = await emptyFolder(options.target)
  const box = await prepareBox(config)
  return withLock(box.folder, () =>
    withOpenBox(box, passphrase, emit, async (open) => {
      const dataset = open.inventory.datasets.find(({ name }) => name === source)
      const snapshot =
        options.snapshot === undefined
          ? dataset?.snapshots.at(-1)
          : dataset?.snapshots.find(({ name }) => name === options.snapshot)
      if (snapshot === undefined)
        throw new KnoxError('config', `the box has no ${source}@${options.snapshot ?? ''}`, [
          'knox restore --list shows what it has',
        ])
      await open.runner.act(lookAt(`${source}@${snapshot.name}`))
      try {
        const wanted = await open.runner.read(checksums(LOOK, path))
        if (wanted === undefined)
          throw new KnoxError('config', `there is no ${path} in ${source}@${snapshot.name}`, [
            'the path begins at the top of the dataset, without a slash',
          ])
        await copyFromBox(open, path, folder, emit)
        const found = await runnerAt(HERE, emit).read(checksums(folder, path))
        if (found !== wanted)
          throw new KnoxError('verification', `the files in ${folder} are not those of the box`, [
            'remove the folder and run it again',
          ])
        const files = wanted.split('\n').length - 1
        return { snapshot: snapshot.name, files, target: join(folder, path) }
      } finally {
        await open.runner.act(lookAway()).catch(() => undefined)
      }
    }),
  )
}
