import type { Dataset, SendRange, Snapshot } from '../tools/zfs.ts'

/** Pure: two inventories in, what to do out. Snapshots match by guid and are ordered by createtxg, never by name. */

export interface Send {
  readonly step: 'send'
  readonly kind: 'full' | 'incremental'
  /** the name on the box */
  readonly dataset: string
  readonly range: SendRange
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

/** The box's datasets under the names they have after the renames planned so far. */
class Box {
  readonly #byName = new Map<string, Dataset>()

  constructor(datasets: readonly Dataset[]) {
    for (const dataset of datasets) this.#byName.set(dataset.name, dataset)
  }

  get(name: string): Dataset | undefined {
    return this.#byName.get(name)
  }

  /** where the dataset that holds one of these guids is now */
  nameOf(guids: ReadonlySet<string>): string | undefined {
    for (const [name, dataset] of this.#byName)
      if (dataset.snapshots.some(({ guid }) => guids.has(guid))) return name
    return undefined
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

/** The sends that bring a dataset to home's newest snapshot, or undefined if they have gone different ways. */
const sendsFor = (
  home: Dataset,
  last: Snapshot,
  name: string,
  box: Dataset | undefined,
): readonly Send[] | undefined => {
  const [oldest] = home.snapshots
  const onBox = box === undefined ? undefined : newest(box)
  const incremental = (from: Snapshot): Send => ({
    step: 'send',
    kind: 'incremental',
    dataset: name,
    range: { dataset: home.name, from: from.name, to: last.name },
  })
  if (onBox === undefined) {
    if (oldest === undefined) return []
    const full: Send = {
      step: 'send',
      kind: 'full',
      dataset: name,
      range: { dataset: home.name, from: undefined, to: oldest.name },
    }
    return oldest.guid === last.guid ? [full] : [full, incremental(oldest)]
  }
  const common = home.snapshots.find(({ guid }) => guid === onBox.guid)
  if (common === undefined) return undefined
  return common.guid === last.guid ? [] : [incremental(common)]
}

/** Renames on the box for datasets that have another name at home now, in an order in which each target is free. */
const planRenames = (
  home: readonly Dataset[],
  box: Box,
  boxName: (name: string) => string,
  pools: Pools,
): Step[] => {
  const steps: Step[] = []
  let waiting = home.filter(({ name, snapshots }) => name !== pools.home && snapshots.length > 0)
  for (let moved = true; moved;) {
    moved = false
    waiting = waiting.filter((dataset) => {
      const guids = new Set(dataset.snapshots.map(({ guid }) => guid))
      const to = boxName(dataset.name)
      if (box.get(to)?.snapshots.some(({ guid }) => guids.has(guid)) === true) return false
      const from = box.nameOf(guids)
      if (from === undefined || from === pools.box) return false
      if (box.get(to) !== undefined || box.get(parentOf(to)) === undefined || isBelow(to, from)) return true
      // a clone shares its origin's snapshots: what still has its place at home is not moved away
      if (
        home.some(
          (other) => boxName(other.name) === from && other.snapshots.some(({ guid }) => guids.has(guid)),
        )
      )
        return false
      box.rename(from, to)
      steps.push({ step: 'rename', from, to })
      moved = true
      return false
    })
  }
  return steps
}

/**
 * Plans a run. `home` as `included` gives it; `box` is the box's list, or what the last receipt remembers of it.
 * Nothing in a plan destroys or rolls back; what would need that is a problem.
 */
export const planBackup = (home: readonly Dataset[], boxDatasets: readonly Dataset[], pools: Pools): Plan => {
  const box = new Box(boxDatasets)
  const boxName = (name: string) => pools.box + name.slice(pools.home.length)
  const steps: Step[] = planRenames(home, box, boxName, pools)
  const goals: Goal[] = []
  const problems: Problem[] = []
  const lost: string[] = []

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
      if (needed && box.get(name) === undefined) {
        steps.push({ step: 'place', dataset: name })
        box.add(name, { ...dataset, name, snapshots: [] })
      }
      continue
    }
    if (lost.some((parent) => isBelow(dataset.name, parent)) && box.get(parentOf(name)) === undefined)
      continue
    const there = box.get(name)
    const sends = sendsFor(dataset, last, name, there)
    if (sends === undefined) {
      problems.push(diverged(dataset, there ?? dataset, name))
      lost.push(dataset.name)
      continue
    }
    // excluded parents have no place on the box yet
    for (const parent of missingParents(name, box)) {
      steps.push({ step: 'place', dataset: parent })
      box.add(parent, { ...dataset, name: parent, snapshots: [] })
    }
    steps.push(...sends)
    box.add(name, dataset)
    goals.push({ home: dataset.name, dataset: name, newest: last, guids: delivered(dataset, sends, last) })
  }
  return { steps, goals, problems }
}

const missingParents = (name: string, box: Box): readonly string[] => {
  const missing: string[] = []
  for (let parent = parentOf(name); parent !== '' && box.get(parent) === undefined; parent = parentOf(parent))
    missing.unshift(parent)
  return missing
}

const delivered = (home: Dataset, sends: readonly Send[], last: Snapshot): readonly string[] => {
  const [first] = sends
  if (first === undefined) return [last.guid]
  const from = home.snapshots.findIndex(({ name }) => name === first.range.from)
  return home.snapshots.slice(from + 1).map(({ guid }) => guid)
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
