import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
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
import type { Session } from './session.ts'
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

const suspectsOf = (state: VerifyState | undefined, { home: { guid } }: Pair): readonly Buffer[] =>
  (state?.datasets[guid]?.suspects ?? []).map((path) => Buffer.from(path, 'base64'))

/** File systems with their newest common snapshot: first those where something differed, then those looked at longest ago. */
const pairsOf = (
  home: readonly Dataset[],
  box: readonly Dataset[],
  config: Config,
  state: VerifyState | undefined,
): readonly Pair[] => {
  const onBox = new Map(box.map((dataset) => [dataset.name, dataset]))
  const lastOf = (pair: Pair) =>
    suspectsOf(state, pair).length > 0 ? '' : ` ${state?.datasets[pair.home.guid]?.last ?? ''}`
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

/** Asks the box for the same files; those that differ or are not there, and those that cannot be read at home or are too long to be asked for. */
const compare = async (session: Session, folder: string, files: readonly SampleFile[]) => {
  const different: (SampleFile & { readonly name: string })[] = []
  const skipped: SampleFile[] = []
  for (const file of files) {
    const { path, bytes } = file
    const wire = wirePath(path)
    if (wire.length > LONGEST_PATH) {
      skipped.push(file)
      continue
    }
    const stop = new AbortController()
    const reading = sha256Of(folder, path, stop.signal).catch(() => undefined)
    const theirs = await session.hash(wire, bytes).catch(async (error: unknown) => {
      // a snapshot with an open file cannot be unmounted
      stop.abort()
      await reading
      throw error
    })
    const ours = await reading
    if (ours === undefined) {
      skipped.push(file)
      continue
    }
    if (ours === theirs) continue
    const why = theirs === 'missing' || theirs === 'unreadable' ? ` (${theirs} there)` : ''
    different.push({ ...file, name: `${printable(path.toString())}${why}` })
  }
  return { different, skipped }
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

/** Where the rounds of all file systems stand: one that had no turn yet was not compared, and one that is gone counts no more. */
const roundsOf = (
  home: readonly Dataset[],
  pairs: readonly Pair[],
  before: VerifyState | undefined,
): VerifyState['datasets'] => {
  const here = new Set(home.map(({ guid }) => guid))
  const known = Object.entries(before?.datasets ?? {}).filter(([guid]) => here.has(guid))
  const none = { cursor: '', last: new Date(0).toISOString(), covered: null, isWhole: true, suspects: [] }
  const all = pairs.map(({ home: { guid, name } }) => [guid, { name, ...none }] as const)
  return { ...Object.fromEntries(all), ...Object.fromEntries(known) }
}

const work = async (
  session: Session,
  home: readonly Dataset[],
  pairs: readonly Pair[],
  budget: number,
  before: VerifyState | undefined,
  emit: Emit,
): Promise<{ readonly report: VerifyReport; readonly state: VerifyState }> => {
  const different: string[] = []
  const covered: string[] = []
  const unread: string[] = []
  /** what differed before and could not be looked at now */
  const left: string[] = []
  const datasets = roundsOf(home, pairs, before)
  let files = 0
  let bytes = 0
  for (const [index, pair] of pairs.entries()) {
    const { home: dataset, box, snapshot } = pair
    const suspects = suspectsOf(before, pair)
    if (bytes >= budget && suspects.length === 0) break
    const share = Math.max(0, budget - bytes) / (pairs.length - index)
    const known = datasets[dataset.guid]
    const full = `${dataset.name}@${snapshot.name}`
    emit({ type: 'step', title: `comparing files of ${full}` })
    const shownAs = (path: Buffer) => `${full}: ${printable(path.toString())}`
    let isWhole = known?.cursor === '' || known?.isWhole !== false
    const leaveOut = (path: Buffer) => {
      isWhole = false
      unread.push(shownAs(path))
    }
    const compared = await withHomeSnapshot(dataset.name, snapshot.name, emit, async (folder) => {
      const alive = keepAlive(session)
      const sample = await pickFiles(folder, known?.cursor ?? '', share, alive, undefined, leaveOut)
      const again = (await findFiles(folder, suspects)).filter(
        ({ key }) => !sample.files.some((file) => file.key === key),
      )
      const all = [...again, ...sample.files]
      if (all.length === 0) return { ...sample, all, skipped: [], found: [] }
      await session.look(box, snapshot.name)
      const { different: found, skipped } = await compare(session, folder, all)
      different.push(...found.map(({ name }) => `${full}: ${name}`))
      for (const { path } of skipped) leaveOut(path)
      return { ...sample, all, skipped, found }
    })
    if (compared === undefined) {
      unread.push(dataset.name)
      left.push(...suspects.map(shownAs))
      continue
    }
    const unsettled = suspects.filter((path) => compared.skipped.some((file) => file.path.equals(path)))
    left.push(...unsettled.map(shownAs))
    const asked = compared.all.filter((file) => !compared.skipped.includes(file))
    files += asked.length
    bytes += asked.reduce((sum, one) => sum + one.bytes, 0)
    const now = new Date().toISOString()
    const isCovered = compared.isLast && isWhole
    if (isCovered) covered.push(dataset.name)
    datasets[dataset.guid] = {
      name: dataset.name,
      cursor: compared.isLast ? '' : (compared.files.at(-1)?.key ?? ''),
      last: now,
      covered: isCovered ? now : (known?.covered ?? null),
      isWhole,
      suspects: [...compared.found.map(({ path }) => path), ...unsettled].map((path) =>
        path.toString('base64'),
      ),
    }
  }
  emit({ type: 'done', title: `compared ${files} files, ${formatBytes(bytes)}` })
  const report = { files, bytes, different, covered, unread }
  const at = new Date().toISOString()
  return {
    report,
    state: { version: 1, at, files, bytes, different: [...different, ...left], datasets },
  }
}

/**
 * Compares files of each file system's newest common snapshot with the box, about `budget` bytes in all, and at least one file of each
 * that it comes to. Throws `verification` if the content of one is another, after the result was kept and the disk locked.
 */
export const verify = async (config: Config, budget: number, emit: Emit): Promise<VerifyReport> => {
  const box = await prepareBox(config)
  return withLock(box.folder, async () => {
    const home = await readHome(config, emit)
    const before = await readVerifyState(box.folder)
    const connection = await connect(box, emit)
    const { session } = connection
    try {
      await unlock(connection, emit)
      const inventory = await session.list()
      checkBox(await readReceipt(box.folder), inventory, new Set())
      const pairs = pairsOf(home, inventory.datasets, config, before)
      if (pairs.length === 0)
        throw new KnoxError('diverged', 'the box has no snapshot that home has', ['knox backup sends them'])
      const { report, state } = await work(session, home, pairs, budget, before, emit)
      emit({ type: 'step', title: 'locking the disk' })
      await session.bye()
      await writeVerifyState(box.folder, state)
      const [first] = report.different
      if (first !== undefined)
        throw new KnoxError(
          'verification',
          `${report.different.length} of ${report.files} files are not the same on the box: ${first}`,
          [
            ...report.different.slice(1, 10),
            'knox scrub shows whether the box’s disk is failing, and which files it has lost',
          ],
        )
      return report
    } catch (error) {
      throw await session.abandon(error)
    }
  })
}
