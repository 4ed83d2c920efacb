import type { Dataset, Snapshot } from '../tools/zfs.ts'
import type { Step } from './plan-types.ts'

/** The box as it will be after the steps planned so far, and the steps that make room on it: renames and places. Pure. */

/** The last snapshot that was taken. */
export const newest = (dataset: Dataset): Snapshot | undefined => dataset.snapshots.at(-1)

/** True for a dataset itself and for all below it. */
export const isBelow = (name: string, parent: string): boolean =>
  name === parent || name.startsWith(`${parent}/`)

/** empty for a pool */
export const parentOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('/')))

const EMPTY: Omit<Dataset, 'name'> = {
  type: 'filesystem',
  guid: '',
  createtxg: 0n,
  resumeToken: undefined,
  snapshots: [],
}

/** The box's datasets under the names they have after the renames planned so far. */
export class Box {
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

  /** A dataset and all below it. */
  below(parent: string): readonly Dataset[] {
    return [...this.#byName].flatMap(([name, dataset]) => (isBelow(name, parent) ? [dataset] : []))
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

const shareSnapshot = (one: Dataset, other: Dataset): boolean => {
  const guids = new Set(one.snapshots.map(({ guid }) => guid))
  return other.snapshots.some(({ guid }) => guids.has(guid))
}

/**
 * Renames on the box for datasets that have another name at home now, in an order in which each target is free, and with
 * places for parents that are not there yet. A dataset whose name is taken, as after a swap, is not moved.
 */
export const planRenames = (
  home: readonly Dataset[],
  box: Box,
  boxName: (name: string) => string,
): Step[] => {
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

/** Empty datasets for the parents of a name that are not on the box. */
export const placeParents = (name: string, box: Box): readonly Step[] => {
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
