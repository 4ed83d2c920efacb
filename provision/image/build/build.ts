import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Change, Read, Runner } from '../../core/command.ts'
import type { Config } from '../../core/config.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Emit } from '../../core/events.ts'
import { printable } from '../../core/names.ts'
import { tidyUp } from '../../system/process.ts'
import { runnerAt, type Place } from '../../system/runner.ts'
import { mdDetach } from '../../tools/mdconfig.ts'
import { unmount } from '../../tools/mount.ts'
import { withLeftover } from '../workplace.ts'
import { clearCommands, clearThere } from './builder.ts'
import {
  changeCpuvar,
  cpuvarState,
  fileChanges,
  forgetKernel,
  holds,
  imageBytes,
  isOurChange,
  keepMarks,
  unexpectedCpuvar,
  writeFile,
  type BuiltFrom,
  type FileChange,
} from './changes.ts'
import { crochetArgv, endCrochet, errorsIn, runCrochet } from './crochet.ts'
import { checkKernel } from './kernel-check.ts'
import { readLock, writeLock, type Lock } from './lock-file.ts'
import { checkHost, firmware, leftoverReads, leftoversOf, lookAtHost, type Leftovers } from './preflight.ts'
import {
  changedFiles,
  CROCHET_REVISION,
  fetchTree,
  isOfFolder,
  kindOf,
  treeRevision,
  type ChangedFile,
  type Tree,
} from './sources.ts'
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
  /** aborts when the owner wants an end */
  readonly signal: AbortSignal
  /** asked before what an earlier failure has left is taken down; throws if that is not wanted */
  readonly confirm: (question: string) => Promise<void>
  /** bytes that are needed beside the work folder, on its file system; default 0 */
  readonly beside?: number
}

/** What an image was made of, with its SHA-256 in hex. */
export interface Input {
  readonly name: string
  readonly sha256: string
}

export interface Built {
  readonly revisions: Readonly<Record<string, string>>
  readonly inputs: readonly Input[]
  /** one hash over all that the raw image was built from */
  readonly stamp: string
}

const treesOf = ({ image, box }: Config, space: Workspace, lock: Lock | undefined): readonly Tree[] => {
  const pinned = (name: 'freebsd' | 'crochet', url: string) =>
    lock?.[name].url === url && !isOfFolder(lock[name].revision) ? lock[name].revision : undefined
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
  if (before !== undefined && (before === tree.revision || isOfFolder(before))) {
    emit({ type: 'done', title: `the sources of ${tree.name} are there: ${before}` })
    return before
  }
  emit({ type: 'step', title: `fetching ${tree.name} from ${tree.url}` })
  await runner.act(fetchTree(tree))
  const revision = await runner.read(treeRevision(tree))
  const isOther = tree.revision !== undefined && revision !== tree.revision
  if (revision === undefined || (isOther && !isOfFolder(revision)))
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

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

const NAMES = 3

/** What somebody has changed in a tree by hand; it is built as it stands, and said. */
const readChanges = async (runner: Runner, tree: Tree, emit: Emit): Promise<readonly ChangedFile[]> => {
  const files = (await runner.read(changedFiles(tree))).filter(({ path }) => !isOurChange(path))
  const names = files.slice(0, NAMES).map(({ path }) => printable(path))
  if (files.length > NAMES) names.push(`${files.length - NAMES} more`)
  if (files.length > 0)
    emit({
      type: 'warning',
      text: `the sources of ${tree.name} are not as their revision has them: ${names.join(', ')}`,
    })
  return files
}

const inputsOf = (
  files: readonly FileChange[],
  changed: ReadonlyMap<string, readonly ChangedFile[]>,
  firmwareFiles: readonly Input[],
): readonly Input[] => [
  ...files.map(({ path, content }) => ({ name: basename(path), sha256: sha256(content) })),
  ...[...changed].flatMap(([tree, all]) =>
    all.map(({ path, sha256: hash = 'gone' }) => ({ name: `${tree}: ${path}`, sha256: hash })),
  ),
  ...firmwareFiles,
]

const stampOf = (revisions: Built['revisions'], inputs: readonly Input[]): string =>
  sha256(JSON.stringify([revisions, inputs.map(({ name, sha256: hash }) => [name, hash]), 'cpuvar 1']))

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

/** Kernel configurations; all else in sys can go into the world too: headers, cddl, newvers.sh. */
const isKernelOnly = (path: string): boolean => /^sys\/[^/]+\/conf\//.test(path)

/** The marks of crochet stand for a revision and what was changed in it. */
const builtFrom = (revision: string, changed: readonly ChangedFile[]): BuiltFrom => {
  const hashOf = (files: readonly ChangedFile[]) =>
    sha256(JSON.stringify([revision, files.map(({ path, sha256: hash }) => [path, hash ?? ''])]))
  return { world: hashOf(changed.filter(({ path }) => !isKernelOnly(path))), kernel: hashOf(changed) }
}

const argvOf = ({ argv }: { readonly argv: readonly string[] }): readonly string[] => argv

/** A part of a build for a dry run. */
export interface Stage {
  readonly stage: string
  readonly commands: readonly (readonly string[])[]
}

const describe = ({ mounted, units }: Leftovers): string =>
  [...mounted, ...units.map((unit) => `md${unit}`)].join(', ')

/** Runs crochet; what it mounts and attaches is gone afterwards, whatever happens. */
const runBuild = async (space: Workspace, { place, emit, signal }: BuildOptions): Promise<void> => {
  const tidy = runnerAt(place, emit, 120, true)
  const result = await tidyUp(async () => {
    let failure: { readonly error: unknown } | undefined
    const ran = await runCrochet(space, place, emit).catch((error: unknown) => {
      failure = { error }
      return undefined
    })
    try {
      if (signal.aborted) await tidy.act(endCrochet(space))
      await takeDown(tidy, space)
    } catch (leftover) {
      throw failure === undefined ? leftover : withLeftover(failure.error, leftover)
    }
    if (ran === undefined) throw failure?.error
    return ran
  })
  if (!result.failed) return
  const lines = await tidy.read(errorsIn(result.log))
  throw new KnoxError('failed', 'crochet could not build the image', [
    ...lines,
    `the whole log: ${result.log} on ${place.name}`,
    'a rerun goes on at the stage that failed',
  ])
}

/**
 * Looks at the build host and returns the workspace there. Throws `platform` with all that the host lacks, `busy` if it builds
 * already.
 */
export const openWorkspace = async (options: BuildOptions): Promise<Workspace> => {
  const { config, folder, place, emit, beside = 0 } = options
  const space = workspaceOf(folder)
  return checkHost(runnerAt(place, emit), space, {
    ...{ trees: treesOf(config, space, undefined), bytes: imageBytes(config.image.size), beside, emit },
    builder: config.image.builder,
  })
}

/** A fetch and a compiler take their time; a stalled one is seen by the owner. */
const builderOf = ({ place, emit }: BuildOptions): Runner => runnerAt(place, emit, 12 * 3600)

/**
 * Makes the sources ready, and says what the raw image will be built of. Throws `unreachable` or `config` for the sources,
 * `verification` for what is not as it should be.
 */
export const prepareBuild = async (space: Workspace, options: BuildOptions): Promise<Built> => {
  const { config, lockFile, emit, confirm } = options
  const runner = builderOf(options)
  const trees = treesOf(config, space, await readLock(lockFile))
  const left = await leftoversOf(runner, space)
  if (left.mounted.length + left.units.length > 0) {
    await confirm(`an earlier build has left ${describe(left)}; take that down?`)
    await takeDown(runner, space)
  }
  // not only when it is made again: it holds the host key
  await clearThere(runner, space.image)
  const revisions: Record<string, string> = {}
  for (const tree of trees) revisions[tree.name] = await fetchOne(runner, tree, emit)
  const [freebsd, crochet] = trees.map(({ url, name }) => ({ url, revision: revisions[name] ?? '' }))
  if (freebsd !== undefined && crochet !== undefined) await writeLock(lockFile, { freebsd, crochet })

  const files = await fileChanges(space, config.image.size)
  await change(runner, space, files, emit)
  const changed = new Map<string, readonly ChangedFile[]>()
  for (const tree of trees) changed.set(tree.name, await readChanges(runner, tree, emit))
  await runner.act(keepMarks(space, builtFrom(revisions['freebsd'] ?? '', changed.get('freebsd') ?? [])))

  const inputs = inputsOf(files, changed, await runner.read(firmware))
  return { revisions, inputs, stamp: stampOf(revisions, inputs) }
}

/**
 * Builds the raw image of what was made ready, if it is not there yet. Throws `failed` with the real error lines if crochet
 * fails, `verification` if the kernel is another than it should be.
 */
export const buildImage = async (
  space: Workspace,
  { stamp }: Built,
  options: BuildOptions,
): Promise<void> => {
  const { emit } = options
  const runner = builderOf(options)
  if ((await runner.read(readStamp(space))) === stamp) {
    emit({ type: 'done', title: `${space.raw} is there already, built of just this` })
    return
  }
  await runner.act(removeStamp(space))
  await runBuild(space, options)
  await runner.read(checkKernel(space)).catch(async (error: unknown) => {
    // a rerun would find it again, with its mark
    await runner.act(forgetKernel(space))
    throw error
  })
  emit({ type: 'done', title: 'the kernel has what kernconf/RPI-B-ZFS asks for' })
  await runner.act(setStamp(space, stamp))
}

/** Every command of a build on a host where nothing is done yet, in order, as words, by stage. */
export const buildActions = async (
  config: Config,
  folder: string,
  lockFile: string,
): Promise<readonly Stage[]> => {
  const space = workspaceOf(folder)
  const trees = treesOf(config, space, await readLock(lockFile))
  const files = await fileChanges(space, config.image.size)
  return [
    {
      stage: 'preflight',
      commands: [lookAtHost(space, trees), ...leftoverReads, ...clearCommands(space.image)].map(argvOf),
    },
    {
      stage: 'sources',
      commands: trees
        .flatMap((tree) => [treeRevision(tree), fetchTree(tree), treeRevision(tree)])
        .map(argvOf),
    },
    {
      stage: 'changes',
      commands: [
        ...[cpuvarState(space), changeCpuvar(space)],
        ...files.flatMap((file) => [holds(file), writeFile(file, space)]),
        ...trees.map(changedFiles),
        keepMarks(space, builtFrom('', [])),
      ].map(argvOf),
    },
    {
      stage: 'build',
      commands: [
        ...[firmware, readStamp(space), removeStamp(space)].map(argvOf),
        crochetArgv(space),
        ...leftoverReads.map(argvOf),
      ],
    },
    { stage: 'kernel', commands: [checkKernel(space), setStamp(space, '')].map(argvOf) },
  ]
}
