import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { formatBytes } from '../core/sizes.ts'
import { withLock } from '../system/lock.ts'
import type { Dataset, Snapshot } from '../tools/zfs.ts'
import { readHome } from './backup.ts'
import { checkBox } from './consent.ts'
import { withHomeSnapshot } from './home-snapshot.ts'
import { readReceipt } from './receipt.ts'
import { findFiles, pickFiles, sha256Of, wirePath, type SampleFile } from './sample-files.ts'
import { isDamaged, readScrubState, type ScrubState } from './scrub.ts'
import type { Session } from './session.ts'
import { staying } from './staying.ts'
import { connect, prepareBox } from './target.ts'
import { unlock } from './unlock.ts'
import { readVerifyState, writeVerifyState, type VerifyState } from './verify-state.ts'

/** Compares the contents of files at home with the box's, a part in each run, so that all are covered over time. */

export interface VerifyReport {
  readonly files: number
  readonly bytes: number
  /** `dataset@snapshot: path` of what is not the same on the box */
  readonly different: readonly string[]
  /** datasets whose round was finished in this run */
  readonly covered: readonly string[]
  /** file systems, folders and files that could not be read at home, and files that could not be asked for */
  readonly unread: readonly string[]
}

/** bytes of a line to the box, less than it takes */
const LONGEST_PATH = 4000

interface Pair {
  readonly home: Dataset
  readonly box: string
  readonly snapshot: Snapshot
}

/** File systems with their newest common snapshot: first those where something differed, then those looked at longest ago. */
const pairsOf = (
  home: readonly Dataset[],
  box: readonly Dataset[],
  config: Config,
  state: VerifyState | undefined,
): readonly Pair[] => {
  const onBox = new Map(box.map((dataset) => [dataset.name, dataset]))
  const lastOf = ({ home: { guid } }: Pair) => {
    const { suspects = [], last = '' } = state?.datasets[guid] ?? {}
    return suspects.length > 0 ? '' : ` ${last}`
  }
  return home
    .filter(({ type }) => type === 'filesystem')
    .flatMap((dataset) => {
      const name = config.box.pool + dataset.name.slice(config.home.pool.length)
      const guids = new Set(onBox.get(name)?.snapshots.map(({ guid }) => guid))
      const snapshot = dataset.snapshots.findLast(({ guid }) => guids.has(guid))
      return snapshot === undefined ? [] : [{ home: dataset, box: name, snapshot }]
    })
    .sort((a, b) => (lastOf(a) < lastOf(b) ? -1 : lastOf(a) > lastOf(b) ? 1 : 0))
}

/** Asks the box for the same file: why its content is not the same (empty if it just is another one), or else whether it could be compared. */
const compare = async (
  session: Session,
  folder: string,
  { path, bytes }: SampleFile,
  every?: number,
): Promise<'same' | 'unread' | { readonly why: string }> => {
  const wire = wirePath(path)
  if (wire.length > LONGEST_PATH) return 'unread'
  const stop = new AbortController()
  const reading = sha256Of(folder, path, stop.signal).catch(() => undefined)
  const theirs = await session.hash(wire, bytes).catch(async (error: unknown) => {
    // a snapshot with an open file cannot be unmounted
    stop.abort()
    await reading
    throw error
  })
  const ours = await staying(session, () => reading, every)
  if (ours === undefined) return 'unread'
  if (ours === theirs) return 'same'
  return { why: theirs === 'missing' || theirs === 'unreadable' ? ` (${theirs} there)` : '' }
}

/** seconds between two signs of life while home's tree is walked */
const STAY = 120

const keepAlive = (session: Session) => {
  let last = Date.now()
  return async () => {
    if (Date.now() - last < STAY * 1000) return
    last = Date.now()
    await session.stay()
  }
}

/** a file system that had no turn yet */
const UNSEEN: VerifyState['datasets'][string] = {
  ...{ name: '', cursor: '', last: new Date(0).toISOString(), covered: null, isWhole: true, suspects: [] },
}

/** True if all of the box's disk was read without damage after that time, as far as the last `knox scrub` knows. */
const isSoundSince = (time: string, scrub: ScrubState | undefined): boolean =>
  scrub?.finished != null && scrub.finished > time && !isDamaged(scrub)

/**
 * Where the rounds of all file systems stand: one that had no turn yet was not compared. One that is gone counts no more, unless
 * something differed that the box still has, and no scrub has found it sound since.
 */
const roundsOf = (
  home: readonly Dataset[],
  pairs: readonly Pair[],
  before: VerifyState | undefined,
  isOnBox: (name: string) => boolean,
  scrub: ScrubState | undefined,
): VerifyState['datasets'] => {
  const here = new Set(home.map(({ guid }) => guid))
  const known = Object.entries(before?.datasets ?? {}).filter(
    ([guid, { name, suspects, last }]) =>
      here.has(guid) || (suspects.length > 0 && isOnBox(name) && !isSoundSince(last, scrub)),
  )
  const all = pairs.map(({ home: { guid, name } }) => [guid, { ...UNSEEN, name }] as const)
  return { ...Object.fromEntries(all), ...Object.fromEntries(known) }
}

/** What a run has seen so far: it is kept and told although its session breaks. */
interface Seen {
  files: number
  bytes: number
  /** how each is told, by its dataset's guid and its path (base64) */
  readonly different: Map<string, string>
  readonly covered: string[]
  readonly unread: string[]
  readonly datasets: VerifyState['datasets']
}

/** What differed before and could not be compared again. */
const leftOf = ({ different, datasets }: Seen): readonly string[] =>
  Object.entries(datasets).flatMap(([guid, { name, suspects }]) =>
    suspects
      .filter((path) => !different.has(`${guid} ${path}`))
      .map((path) => `${name}: ${printable(Buffer.from(path, 'base64').toString())}`),
  )

const stateOf = (seen: Seen): VerifyState => {
  const { files, bytes, datasets } = seen
  const different = [...seen.different.values(), ...leftOf(seen)]
  return { version: 1, at: new Date().toISOString(), files, bytes, different, datasets }
}

/** Compares a part of one file system, and keeps in `seen` how each of its files is as soon as that is known. */
const workOn = async (
  session: Session,
  { home: { guid, name }, box, snapshot }: Pair,
  share: number,
  seen: Seen,
  scrub: ScrubState | undefined,
  emit: Emit,
  every?: number,
): Promise<void> => {
  const known = seen.datasets[guid] ?? UNSEEN
  const full = `${name}@${snapshot.name}`
  emit({ type: 'step', title: `comparing files of ${full}` })
  const round = { ...known, name, isWhole: known.cursor === '' || known.isWhole }
  const suspects = new Set(known.suspects)
  const leaveOut = (path: Buffer) => {
    round.isWhole = false
    seen.unread.push(`${full}: ${printable(path.toString())}`)
  }
  const keep = () => (seen.datasets[guid] = { ...round, suspects: [...suspects] })
  const isThere = await withHomeSnapshot(name, snapshot.name, emit, async (folder) => {
    round.last = new Date().toISOString()
    const alive = keepAlive(session)
    const sample = await pickFiles(folder, known.cursor, share, alive, undefined, leaveOut)
    const before = known.suspects.map((path) => Buffer.from(path, 'base64'))
    const there = await findFiles(folder, before)
    if (isSoundSince(known.last, scrub))
      for (const path of before)
        if (!there.some((file) => file.path.equals(path))) suspects.delete(path.toString('base64'))
    const again = there.filter(({ key }) => !sample.files.some((file) => file.key === key))
    const all = [...again, ...sample.files]
    if (all.length > 0) await session.look(box, snapshot.name)
    for (const [index, file] of all.entries()) {
      const path = file.path.toString('base64')
      const outcome = await compare(session, folder, file, every)
      if (outcome === 'unread') leaveOut(file.path)
      else {
        seen.files += 1
        seen.bytes += file.bytes
        suspects.delete(path)
      }
      if (typeof outcome === 'object') {
        suspects.add(path)
        seen.different.set(`${guid} ${path}`, `${full}: ${printable(file.path.toString())}${outcome.why}`)
      }
      if (index >= again.length) round.cursor = file.key
      keep()
    }
    if (sample.isLast) {
      round.cursor = ''
      if (round.isWhole) {
        round.covered = new Date().toISOString()
        seen.covered.push(name)
      }
    }
    keep()
    return true
  })
  if (isThere === undefined) seen.unread.push(name)
}

const work = async (
  session: Session,
  pairs: readonly Pair[],
  budget: number,
  seen: Seen,
  scrub: ScrubState | undefined,
  emit: Emit,
  every?: number,
): Promise<void> => {
  for (const [index, pair] of pairs.entries()) {
    const suspects = seen.datasets[pair.home.guid]?.suspects ?? []
    if (seen.bytes >= budget && suspects.length === 0) break
    const share = Math.max(0, budget - seen.bytes) / (pairs.length - index)
    await workOn(session, pair, share, seen, scrub, emit, every)
  }
  const hint = 'it differed; if it is gone at home it counts until a knox scrub has ended without damage'
  seen.unread.push(...leftOf(seen).map((name) => `${name} (${hint})`))
  emit({ type: 'done', title: `compared ${seen.files} files, ${formatBytes(seen.bytes)}` })
}

/** The error for what differs, and for what the run broke off with then; what is graver stays. */
const differs = ({ files, different }: Seen, broken?: unknown): unknown => {
  const [first, ...more] = different.values()
  if (first === undefined || (broken instanceof KnoxError && broken.code === 'left-unlocked')) return broken
  return new KnoxError(
    'verification',
    `${different.size} of ${files} files are not the same on the box: ${first}`,
    [
      ...more.slice(0, 9),
      'knox scrub shows whether the box’s disk is failing, and which files it has lost',
      ...(broken === undefined ? [] : [`then it broke off: ${messageOf(broken)}`]),
    ],
  )
}

/**
 * Compares files of each file system's newest common snapshot with the box, about `budget` bytes in all, and at least one file of each
 * that it comes to. Throws `verification` if the content of one is another, after the result was kept and the disk locked. What was
 * compared is kept although the session breaks. `every` is for tests: seconds between two signs of life while home reads a file.
 */
export const verify = async (
  config: Config,
  budget: number,
  emit: Emit,
  every?: number,
): Promise<VerifyReport> => {
  const box = await prepareBox(config)
  return withLock(box.folder, async () => {
    const home = await readHome(config, emit)
    const before = await readVerifyState(box.folder)
    const connection = await connect(box, emit)
    const { session } = connection
    const seen: Seen = { files: 0, bytes: 0, different: new Map(), covered: [], unread: [], datasets: {} }
    try {
      await unlock(connection, emit)
      const inventory = await session.list()
      checkBox(await readReceipt(box.folder), inventory, new Set())
      const pairs = pairsOf(home, inventory.datasets, config, before)
      if (pairs.length === 0)
        throw new KnoxError('diverged', 'the box has no snapshot that home has', ['knox backup sends them'])
      const scrub = await readScrubState(box.folder)
      const onBox = new Set(inventory.datasets.map(({ name }) => name))
      const isOnBox = (name: string) => onBox.has(config.box.pool + name.slice(config.home.pool.length))
      Object.assign(seen.datasets, roundsOf(home, pairs, before, isOnBox, scrub))
      const keep = () => writeVerifyState(box.folder, stateOf(seen))
      await work(session, pairs, budget, seen, scrub, emit, every).catch(async (error: unknown) => {
        // a run that came to nothing is not the last one that compared
        if (seen.files > 0) await keep()
        throw error
      })
      await keep()
      emit({ type: 'step', title: 'locking the disk' })
      await session.bye()
    } catch (error) {
      throw differs(seen, await session.abandon(error))
    }
    if (seen.different.size > 0) throw differs(seen)
    const { files, bytes, covered, unread } = seen
    return { files, bytes, different: [], covered, unread }
  })
}
