import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Change, Read, Runner } from '../../core/command.ts'
import type { Config } from '../../core/config.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Emit } from '../../core/events.ts'
import { tidyUp } from '../../system/process.ts'
import { runnerAt, type Place } from '../../system/runner.ts'
import { mdDetach } from '../../tools/mdconfig.ts'
import { unmount } from '../../tools/mount.ts'
import {
  changeCpuvar,
  cpuvarState,
  fileChanges,
  holds,
  unexpectedCpuvar,
  writeFile,
  type FileChange,
} from './changes.ts'
import { crochetArgv, errorLines, runCrochet } from './crochet.ts'
import { checkKernel } from './kernel-check.ts'
import { readLock, writeLock, type Lock } from './lock-file.ts'
import { checkHost, leftoversOf, lookAtHost, type Leftovers } from './preflight.ts'
import { CROCHET_REVISION, fetchTree, kindOf, treeRevision, type Tree } from './sources.ts'
import { workspaceOf, type Workspace } from './workspace.ts'

/** From sources to a raw image: each stage looks whether it is done, and a rerun goes on at the one that failed. */

export interface BuildOptions {
  readonly config: Config
  /** the workspace on the build host, absolute */
  readonly folder: string
  readonly lockFile: string
  /** the build host */
  readonly place: Place
  readonly emit: Emit
  /** asked before what an earlier failure has left is taken down; throws if that is not wanted */
  readonly confirm: (question: string) => Promise<void>
}

export interface Built {
  readonly space: Workspace
  readonly revisions: Readonly<Record<string, string>>
  /** one hash over all that the raw image was built from */
  readonly stamp: string
}

const treesOf = ({ image, box }: Config, space: Workspace, lock: Lock | undefined): readonly Tree[] => {
  const pinned = (name: 'freebsd' | 'crochet', url: string) =>
    lock?.[name].url === url ? lock[name].revision : undefined
  const source = image.source ?? `https://svn.freebsd.org/base/${box.release}`
  const crochet = image.crochet ?? 'https://github.com/freebsd/crochet.git'
  return [
    {
      ...{ name: 'freebsd', url: source, kind: kindOf(source), branch: box.release },
      ...{ revision: pinned('freebsd', source), folder: space.src },
    },
    {
      ...{ name: 'crochet', url: crochet, kind: 'git', branch: CROCHET_REVISION },
      ...{ revision: pinned('crochet', crochet) ?? CROCHET_REVISION, folder: space.crochet },
    },
  ]
}

const fetchOne = async (runner: Runner, tree: Tree, emit: Emit): Promise<string> => {
  const before = await runner.read(treeRevision(tree))
  if (before !== undefined && before === tree.revision) {
    emit({ type: 'done', title: `the sources of ${tree.name} are there: ${before}` })
    return before
  }
  emit({ type: 'step', title: `fetching ${tree.name} from ${tree.url}` })
  await runner.act(fetchTree(tree))
  const revision = await runner.read(treeRevision(tree))
  if (revision === undefined || (tree.revision !== undefined && revision !== tree.revision))
    throw new KnoxError(
      'verification',
      `the sources of ${tree.name} are not whole, or not the revision that was asked for`,
      ['run it again'],
    )
  emit({ type: 'done', title: `the sources of ${tree.name}: ${revision}` })
  return revision
}

const change = async (
  runner: Runner,
  space: Workspace,
  files: readonly FileChange[],
  emit: Emit,
): Promise<void> => {
  const line = await runner.read(cpuvarState(space))
  if (line === 'unexpected') throw unexpectedCpuvar()
  if (line === 'to do') await runner.act(changeCpuvar(space))
  emit({ type: 'done', title: `cpuvar.h: ${line === 'applied' ? 'already applied' : 'applied'}` })
  for (const file of files) {
    const isThere = await runner.read(holds(file))
    if (!isThere) await runner.act(writeFile(file, space))
    emit({ type: 'done', title: `${file.path}: ${isThere ? 'already applied' : 'applied'}` })
  }
}

const stampOf = (revisions: Readonly<Record<string, string>>, files: readonly FileChange[]): string =>
  createHash('sha256')
    .update(JSON.stringify([revisions, files.map(({ path, content }) => [path, content]), 'cpuvar 1']))
    .digest('hex')

const readStamp = ({ raw, stamp }: Workspace): Read<string> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', '[ -s "$1" ] && cat "$2" 2>/dev/null; exit 0', 'sh', raw, stamp],
  parse: (stdout) => stdout.trim(),
})

const setStamp = ({ stamp }: Workspace, text: string): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', 'umask 077; cat >"$1.new"; mv "$1.new" "$1"', 'sh', stamp],
  stdin: `${text}\n`,
})

const removeStamp = ({ stamp }: Workspace): Change => ({ effect: 'change', argv: ['rm', '-f', stamp] })

const processors: Read<number> = {
  effect: 'read',
  argv: ['sysctl', '-n', 'hw.ncpu'],
  parse: (stdout) => Math.max(1, Number.parseInt(stdout) || 1),
}

const readLog = (log: string): Read<string> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', 'cat "$1" 2>/dev/null; exit 0', 'sh', log],
  parse: (stdout) => stdout,
})

const ATTEMPTS = 4

/** Takes down what crochet has mounted and attached. Throws `busy` if something of it stays. */
const takeDown = async (runner: Runner, space: Workspace): Promise<void> => {
  for (let attempt = 1; ; attempt += 1) {
    const { mounted, units } = await leftoversOf(runner, space)
    if (mounted.length + units.length === 0) return
    if (attempt > ATTEMPTS)
      throw new KnoxError('busy', 'the image is still mounted or attached on the build host', [
        ...mounted.map((on) => `umount ${on}`),
        ...units.map((unit) => `mdconfig -d -u ${unit}`),
      ])
    for (const on of mounted) await runner.act(unmount(on, attempt > 2)).catch(() => undefined)
    for (const unit of units) await runner.act(mdDetach(unit)).catch(() => undefined)
    if (attempt > 1) await sleep(attempt * 300)
  }
}

const describe = ({ mounted, units }: Leftovers): string =>
  [...mounted, ...units.map((unit) => `md${unit}`)].join(', ')

/** Runs crochet; what it mounts and attaches is gone afterwards, whatever happens. */
const runBuild = async (runner: Runner, space: Workspace, { place, emit }: BuildOptions): Promise<void> => {
  const jobs = await runner.read(processors)
  const tidy = runnerAt(place, emit, 120, true)
  const result = await tidyUp(async () => {
    try {
      return await runCrochet(space, jobs, place, emit)
    } finally {
      await takeDown(tidy, space)
    }
  })
  if (!result.failed) return
  const lines = errorLines(await tidy.read(readLog(result.log)))
  throw new KnoxError('failed', 'crochet could not build the image', [
    ...lines,
    `the whole log: ${result.log} on ${place.name}`,
    'a rerun goes on at the stage that failed',
  ])
}

/**
 * Builds the raw image. Throws `platform` with all that the host lacks, `unreachable` or `config` for the sources,
 * `verification` for what is not as it should be, `failed` with the real error lines if crochet fails.
 */
export const buildImage = async (options: BuildOptions): Promise<Built> => {
  const { config, folder, lockFile, place, emit, confirm } = options
  const space = workspaceOf(folder)
  // a fetch and a compiler take their time; a stalled one is seen by the owner
  const runner = runnerAt(place, emit, 12 * 3600)
  const trees = treesOf(config, space, await readLock(lockFile))
  await checkHost(runner, space, trees[0]?.kind ?? 'git', emit)
  const left = await leftoversOf(runner, space)
  if (left.mounted.length + left.units.length > 0) {
    await confirm(`an earlier build has left ${describe(left)}; take that down?`)
    await takeDown(runner, space)
  }
  const revisions: Record<string, string> = {}
  for (const tree of trees) revisions[tree.name] = await fetchOne(runner, tree, emit)
  const [freebsd, crochet] = trees.map(({ url, name }) => ({ url, revision: revisions[name] ?? '' }))
  if (freebsd !== undefined && crochet !== undefined) await writeLock(lockFile, { freebsd, crochet })

  const files = await fileChanges(space, config.image.size)
  await change(runner, space, files, emit)
  const stamp = stampOf(revisions, files)
  if ((await runner.read(readStamp(space))) === stamp)
    emit({ type: 'done', title: `${space.raw} is there already, built of just this` })
  else {
    await runner.act(removeStamp(space))
    await runBuild(runner, space, options)
    await runner.read(checkKernel(space))
    emit({ type: 'done', title: 'the kernel has what kernconf/RPI-B-ZFS asks for' })
    await runner.act(setStamp(space, stamp))
  }
  return { space, revisions, stamp }
}

/** Every command of a build on a host where nothing is done yet, in order, as words. */
export const buildActions = async (
  config: Config,
  folder: string,
  lockFile: string,
): Promise<readonly (readonly string[])[]> => {
  const space = workspaceOf(folder)
  const trees = treesOf(config, space, await readLock(lockFile))
  const files = await fileChanges(space, config.image.size)
  return [
    lookAtHost(space).argv,
    ...trees.flatMap((tree) => [treeRevision(tree).argv, fetchTree(tree).argv, treeRevision(tree).argv]),
    cpuvarState(space).argv,
    changeCpuvar(space).argv,
    ...files.flatMap((file) => [holds(file).argv, writeFile(file, space).argv]),
    readStamp(space).argv,
    removeStamp(space).argv,
    processors.argv,
    crochetArgv(space, 1),
    checkKernel(space).argv,
    setStamp(space, '').argv,
  ]
}
