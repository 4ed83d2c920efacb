import { quoteAll } from '../core/quote.ts'
import type { Dataset, Snapshot } from '../tools/zfs.ts'
import { Box, isBelow, newest, parentOf, placeParents, planRenames } from './plan-box.ts'
import type { Goal, PartialReceive, Plan, Pools, Problem, Send, Step } from './plan-types.ts'

export type * from './plan-types.ts'

/** Pure: two inventories in, what to do out. Snapshots match by guid and are ordered by createtxg, never by name. */

/** Home's datasets without the excluded ones and what is below them, parents first. */
export const included = (home: readonly Dataset[], exclude: readonly string[]): readonly Dataset[] =>
  home
    .filter(({ name }) => !exclude.some((out) => isBelow(name, out)))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))

const named = (snapshot: Snapshot | undefined): string =>
  snapshot === undefined ? 'none' : `@${snapshot.name}`

const isRoot = (name: string): boolean => parentOf(name) === ''

/** The box holds its anchors, the newest among them: zfs rolls nothing back behind one before it is let go. */
const rollBack = (name: string, common: Snapshot, newer: readonly Snapshot[]): string => {
  const held = newer.filter((one) => one.held).map((one) => `${name}@${one.name}`)
  const release = held.length === 0 ? '' : `${quoteAll(['zfs', 'release', 'knox', ...held])} && `
  return release + quoteAll(['zfs', 'rollback', '-r', `${name}@${common.name}`])
}

/** The pool's own dataset cannot be renamed, so only its owner can take it back. `newer` is what the box has after `common`. */
const wayOut = (name: string, common: Snapshot | undefined, newer: readonly Snapshot[]): string =>
  isRoot(name)
    ? `nothing was rolled back or removed; ${
        common === undefined
          ? 'another disk (knox prepare-disk) can take it'
          : `as root on the box, its disk unlocked, this would lose what is newer there: ${rollBack(name, common, newer)}`
      }`
    : 'nothing was rolled back or removed; --accept-divergence keeps the box’s copy under another name and sends this one anew'

/** Evidence of what has happened: both newest snapshots, and what only one side has since the last common one. */
const diverged = (home: Dataset, box: Dataset, name: string): Problem => {
  const ours = new Map(home.snapshots.map(({ guid }, index) => [guid, index]))
  const at = box.snapshots.findLastIndex(({ guid }) => ours.has(guid))
  const common = box.snapshots[at]
  const onBox = box.snapshots.length - 1 - at
  const atHome = home.snapshots.length - 1 - (ours.get(common?.guid ?? '') ?? -1)
  const both = `newest at home ${named(newest(home))}, newest on the box ${named(newest(box))}`
  const after = `after @${common?.name ?? ''} the box has ${onBox} of its own`
  const message =
    common === undefined
      ? `${home.name} and ${name} on the box have no common snapshot (${both}): is it another dataset of the same name?`
      : atHome === 0
        ? `${home.name} has gone back behind ${name} on the box (${both}): ${after}, home none`
        : `${home.name} and ${name} on the box have gone different ways (${both}): ${after}, home ${atHome}`
  return {
    dataset: home.name,
    kind: 'diverged',
    message,
    hint: wayOut(name, common, box.snapshots.slice(at + 1)),
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

/** What keeps a dataset from being sent, if there is something. */
const problemOf = (
  home: Dataset,
  last: Snapshot,
  name: string,
  there: Dataset | undefined,
  partial: PartialReceive | undefined,
): Problem | undefined => {
  if (there === undefined) return undefined
  const sends = sendsFor(home, last, name, there, partial)
  return sends === undefined ? diverged(home, there, name) : nameTaken(home, there, name, sends)
}

/** Moves what has gone another way on the box aside, with all below it; what is below and has not is then moved back. */
const planBranches = (
  home: readonly Dataset[],
  box: Box,
  boxName: (name: string) => string,
): { readonly steps: readonly Step[]; readonly kept: readonly string[] } => {
  const steps: Step[] = []
  const kept: string[] = []
  for (const dataset of home) {
    const name = boxName(dataset.name)
    const last = newest(dataset)
    const there = box.get(name)
    if (last === undefined || there === undefined || isRoot(name)) continue
    if (problemOf(dataset, last, name, there, undefined) === undefined) continue
    const until = `${name}-until-${newest(there)?.name ?? ''}`
    let to = until
    for (let n = 2; box.get(to) !== undefined; n += 1) to = `${until}-${n}`
    steps.push({ step: 'rename', from: name, to })
    box.rename(name, to)
    kept.push(to)
    steps.push(...planRenames(home, box, boxName))
  }
  return { steps, kept }
}

/**
 * Plans a run. `home` as `included` gives it; `box` is the box's list, or what the last receipt remembers of it;
 * `partials` are the interrupted streams by the box's names.
 * Nothing in a plan destroys or rolls back; what would need that is a problem, or with `keepBranches` is moved aside on the box.
 */
export const planBackup = (
  home: readonly Dataset[],
  boxDatasets: readonly Dataset[],
  pools: Pools,
  partials: ReadonlyMap<string, PartialReceive> = new Map(),
  keepBranches = false,
): Plan => {
  const box = new Box(boxDatasets)
  const boxName = (name: string) => pools.box + name.slice(pools.home.length)
  const steps: Step[] = planRenames(home, box, boxName)
  const branches = keepBranches ? planBranches(home, box, boxName) : { steps: [], kept: [] }
  steps.push(...branches.steps)
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
  const kept = branches.kept.flatMap((name) => box.below(name).map(({ guid }) => guid))
  return { steps, goals, problems, kept: [...new Set(kept)] }
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
