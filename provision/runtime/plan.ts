import type { SendRange } from '../tools/zfs-send.ts'
import type { Dataset, Snapshot } from '../tools/zfs.ts'

/** Pure: two inventories in, what to do out. Snapshots match by guid and are ordered by createtxg, never by name. */

export type Send = {
  readonly step: 'send'
  /** the name on the box */
  readonly dataset: string
  readonly range: SendRange
} & (
  | { readonly kind: 'full' | 'incremental' }
  /** the rest of a stream that was interrupted */
  | { readonly kind: 'resume'; readonly token: string; readonly bytes: number | undefined }
)

/** A stream that a dataset of the box has begun to receive, and that home can go on with. */
export interface PartialReceive {
  readonly token: string
  /** of the snapshot that it brings */
  readonly guid: string
  /** still to come, estimated */
  readonly bytes: number | undefined
}

export type Step =
  | Send
  | { readonly step: 'rename'; readonly from: string; readonly to: string }
  | { readonly step: 'place'; readonly dataset: string }

/** What the box must list at the end for one of home's datasets. */
export interface Goal {
  readonly home: string
  readonly dataset: string
  readonly newest: Snapshot
  /** guids that this run delivers, the newest included */
  readonly guids: readonly string[]
}

export interface Problem {
  readonly dataset: string
  readonly kind: 'no-snapshot' | 'diverged'
  readonly message: string
  readonly hint: string
}

export interface Plan {
  readonly steps: readonly Step[]
  readonly goals: readonly Goal[]
  readonly problems: readonly Problem[]
}

export interface Pools {
  readonly home: string
  readonly box: string
}

const newest = (dataset: Dataset): Snapshot | undefined => dataset.snapshots.at(-1)

const isBelow = (name: string, parent: string): boolean => name === parent || name.startsWith(`${parent}/`)

/** empty for a pool */
const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('/')))

/** Home's datasets without the excluded ones and what is below them, parents first. */
export const included = (home: readonly Dataset[], exclude: readonly string[]): readonly Dataset[] =>
  home
    .filter(({ name }) => !exclude.some((out) => isBelow(name, out)))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))

const EMPTY: Omit<Dataset, 'name'> = {
  type: 'filesystem',
  guid: '',
  createtxg: 0n,
  resumeToken: undefined,
  snapshots: [],
}

/** The box's datasets under the names they have after the renames planned so far. */
class Box {
  readonly #byName = new Map<string, Dataset>()

  constructor(datasets: readonly Dataset[]) {
    for (const dataset of datasets) this.#byName.set(dataset.name, dataset)
  }

  get(name: string): Dataset | undefined {
    return this.#byName.get(name)
  }

  /** The dataset whose newest snapshot is one of these, the newest of them if there are several; but for the pool itself. */
  continuedBy(snapshots: readonly Snapshot[]): string | undefined {
    const age = new Map(snapshots.map(({ guid }, index) => [guid, index]))
    let found: { readonly name: string; readonly index: number } | undefined
    for (const [name, dataset] of this.#byName) {
      const index = age.get(newest(dataset)?.guid ?? '')
      if (index === undefined || parentOf(name) === '') continue
      if (found === undefined || index > found.index) found = { name, index }
    }
    return found?.name
  }

  add(name: string, dataset: Dataset): void {
    this.#byName.set(name, dataset)
  }

  rename(from: string, to: string): void {
    for (const [name, dataset] of [...this.#byName]) {
      if (!isBelow(name, from)) continue
      this.#byName.delete(name)
      this.#byName.set(to + name.slice(from.length), dataset)
    }
  }
}

const named = (snapshot: Snapshot | undefined): string =>
  snapshot === undefined ? 'none' : `@${snapshot.name}`

const diverged = (home: Dataset, box: Dataset, name: string): Problem => {
  const ours = new Set(home.snapshots.map(({ guid }) => guid))
  const common = box.snapshots.findLast(({ guid }) => ours.has(guid))
  const both = `newest at home ${named(newest(home))}, newest on the box ${named(newest(box))}`
  return {
    dataset: home.name,
    kind: 'diverged',
    message:
      common === undefined
        ? `${home.name} and ${name} on the box have no common snapshot (${both})`
        : `${home.name} and ${name} on the box have gone different ways after @${common.name} (${both})`,
    hint: `nothing was rolled back or removed; to keep the box’s copy and start anew, rename ${home.name} at home`,
  }
}

/** The snapshots that some sends of one dataset bring to the box. */
const coming = (home: Dataset, sends: readonly Send[]): readonly Snapshot[] =>
  sends[0] === undefined
    ? []
    : home.snapshots.slice(1 + home.snapshots.findIndex(({ name }) => name === sends[0]?.range.from))

/** zfs receive takes no snapshot of a name that another one has there already. */
const nameTaken = (
  home: Dataset,
  box: Dataset,
  name: string,
  sends: readonly Send[],
): Problem | undefined => {
  const names = new Set(coming(home, sends).map((snapshot) => snapshot.name))
  const taken = box.snapshots.find((snapshot) => names.has(snapshot.name))
  if (taken === undefined) return undefined
  const full = `${home.name}@${taken.name}`
  return {
    dataset: home.name,
    kind: 'diverged',
    message: `${full} is another snapshot than ${name}@${taken.name} on the box, which has the same name`,
    hint: `nothing was sent of ${home.name}; to send it under another name: zfs rename ${full} ${full}-2`,
  }
}

/** The rest of an interrupted stream, if it continues what the box has. */
const resumed = (
  home: Dataset,
  name: string,
  base: Snapshot | undefined,
  partial: PartialReceive | undefined,
): { readonly send: Send; readonly snapshot: Snapshot } | undefined => {
  const at = home.snapshots.findIndex(({ guid }) => guid === partial?.guid)
  const snapshot = home.snapshots[at]
  const from = base === undefined ? -1 : home.snapshots.indexOf(base)
  if (partial === undefined || snapshot === undefined || at <= from) return undefined
  const { token, bytes } = partial
  const range = { dataset: home.name, from: base?.name, to: snapshot.name }
  return { send: { step: 'send', kind: 'resume', dataset: name, range, token, bytes }, snapshot }
}

/** The sends that bring a dataset to home's newest snapshot, or undefined if they have gone different ways. */
const sendsFor = (
  home: Dataset,
  last: Snapshot,
  name: string,
  box: Dataset | undefined,
  partial: PartialReceive | undefined,
): readonly Send[] | undefined => {
  const [oldest] = home.snapshots
  const onBox = box === undefined ? undefined : newest(box)
  const incremental = (from: Snapshot): Send => ({
    step: 'send',
    kind: 'incremental',
    dataset: name,
    range: { dataset: home.name, from: from.name, to: last.name },
  })
  const common = home.snapshots.find(({ guid }) => guid === onBox?.guid)
  if (onBox !== undefined && common === undefined) return undefined
  const rest = resumed(home, name, common, partial)
  if (rest !== undefined)
    return rest.snapshot === last ? [rest.send] : [rest.send, incremental(rest.snapshot)]
  if (common === undefined) {
    if (oldest === undefined) return []
    const full: Send = {
      step: 'send',
      kind: 'full',
      dataset: name,
      range: { dataset: home.name, from: undefined, to: oldest.name },
    }
    return oldest.guid === last.guid ? [full] : [full, incremental(oldest)]
  }
  return common.guid === last.guid ? [] : [incremental(common)]
}

const shareSnapshot = (one: Dataset, other: Dataset): boolean => {
  const guids = new Set(one.snapshots.map(({ guid }) => guid))
  return other.snapshots.some(({ guid }) => guids.has(guid))
}

/**
 * Renames on the box for datasets that have another name at home now, in an order in which each target is free, and with
 * places for parents that are not there yet. A dataset whose name is taken, as after a swap, is not moved.
 */
const planRenames = (home: readonly Dataset[], box: Box, boxName: (name: string) => string): Step[] => {
  const steps: Step[] = []
  // a clone can hold the snapshots of its origin: what still has its place at home is not moved away from it
  const isAtHome = (name: string) =>
    home.some((dataset) => {
      const there = boxName(dataset.name) === name ? box.get(name) : undefined
      return there !== undefined && shareSnapshot(dataset, there)
    })
  const findMove = (): { readonly from: string; readonly to: string } | undefined => {
    for (const { name, snapshots } of home) {
      const to = boxName(name)
      if (box.get(to) !== undefined) continue
      const from = box.continuedBy(snapshots)
      if (from !== undefined && !isBelow(to, from) && !isAtHome(from)) return { from, to }
    }
    return undefined
  }
  // one by one, since each may free a name and moves what is below it
  for (let move = findMove(); move !== undefined; move = findMove()) {
    steps.push(...placeParents(move.to, box), { step: 'rename', ...move })
    box.rename(move.from, move.to)
  }
  return steps
}

/**
 * Plans a run. `home` as `included` gives it; `box` is the box's list, or what the last receipt remembers of it;
 * `partials` are the interrupted streams by the box's names.
 * Nothing in a plan destroys or rolls back; what would need that is a problem.
 */
export const planBackup = (
  home: readonly Dataset[],
  boxDatasets: readonly Dataset[],
  pools: Pools,
  partials: ReadonlyMap<string, PartialReceive> = new Map(),
): Plan => {
  const box = new Box(boxDatasets)
  const boxName = (name: string) => pools.box + name.slice(pools.home.length)
  const steps: Step[] = planRenames(home, box, boxName)
  const goals: Goal[] = []
  const problems: Problem[] = []

  for (const dataset of home) {
    const name = boxName(dataset.name)
    const last = newest(dataset)
    if (last === undefined) {
      problems.push({
        dataset: dataset.name,
        kind: 'no-snapshot',
        message: `${dataset.name} has no snapshot, so there is nothing to send of it`,
        hint: 'knox snapshot takes one of every dataset; home.exclude in knox.yaml leaves it out for good',
      })
      const needed = home.some((other) => other.snapshots.length > 0 && isBelow(other.name, dataset.name))
      if (needed) steps.push(...placeParents(`${name}/`, box))
      continue
    }
    const there = box.get(name)
    const sends = sendsFor(dataset, last, name, there, partials.get(name))
    const problem =
      sends === undefined
        ? diverged(dataset, there ?? dataset, name)
        : there && nameTaken(dataset, there, name, sends)
    if (sends === undefined || problem !== undefined) {
      if (problem !== undefined) problems.push(problem)
      continue
    }
    // a parent that is excluded at home has no place on the box yet
    steps.push(...placeParents(name, box), ...sends)
    box.add(name, dataset)
    const guids = sends.length === 0 ? [last.guid] : coming(dataset, sends).map(({ guid }) => guid)
    goals.push({ home: dataset.name, dataset: name, newest: last, guids })
  }
  return { steps, goals, problems }
}

/** Empty datasets for the parents of a name that are not on the box. */
const placeParents = (name: string, box: Box): readonly Step[] => {
  const missing: Step[] = []
  for (
    let parent = parentOf(name);
    parent !== '' && box.get(parent) === undefined;
    parent = parentOf(parent)
  ) {
    missing.unshift({ step: 'place', dataset: parent })
    box.add(parent, { ...EMPTY, name: parent })
  }
  return missing
}

/** The goals that a list of the box does not meet. */
export const unmetGoals = (goals: readonly Goal[], box: readonly Dataset[]): readonly Goal[] => {
  const guids = new Map(box.map(({ name, snapshots }) => [name, new Set(snapshots.map(({ guid }) => guid))]))
  const last = new Map(box.map((dataset) => [dataset.name, newest(dataset)?.guid]))
  return goals.filter(
    (goal) =>
      last.get(goal.dataset) !== goal.newest.guid ||
      goal.guids.some((guid) => guids.get(goal.dataset)?.has(guid) !== true),
  )
}
