import type { Dataset } from '../tools/zfs.ts'
import type { Pools, Problem } from './plan.ts'

/** Pure: what the box still has and home no longer, and what of it may go. Snapshots match by guid. */

export interface DeletionPolicy {
  /** days that a snapshot must have been gone at home */
  readonly grace: number
  /** percent of the box's snapshots that one run destroys without asking */
  readonly most: number
}

/** When a snapshot of the box was first seen to be gone at home, and on how many days since. */
export interface Missing {
  readonly since: string
  readonly days: number
  readonly last: string
  /** the owner was told of it, and has said --accept-deletions */
  readonly agreed?: true | undefined
}

/** What home remembers from run to run. If it is lost, all grace begins anew. */
export interface DeletionState {
  /** by guid of the snapshot */
  readonly missing: Readonly<Record<string, Missing>>
  /** by guid of the box's dataset: gone at home with the owner's consent, or an old branch that is kept whole */
  readonly datasets: Readonly<Record<string, 'gone' | 'kept'>>
}

export const NO_DELETIONS: DeletionState = { missing: {}, datasets: {} }

export interface Doomed {
  /** the box's name */
  readonly dataset: string
  readonly snapshots: readonly string[]
}

export interface DeletionPlan {
  readonly destroy: readonly Doomed[]
  readonly problems: readonly Problem[]
  readonly state: DeletionState
}

/** a clock that jumps makes one day of many: nothing goes before it was missed on so many */
const LEAST_DAYS = 3
/** so many may always go, however few the box has */
const LEAST_CAP = 20
/** days between two runs after which all grace begins anew */
const LONGEST_AWAY = 90
const SHOWN = 8

const isBelow = (name: string, parent: string): boolean => name === parent || name.startsWith(`${parent}/`)

export interface World {
  /** all datasets of home, the excluded ones too */
  readonly home: readonly Dataset[]
  readonly exclude: readonly string[]
  readonly box: readonly Dataset[]
  readonly pools: Pools
}

const homeName = (name: string, pools: Pools): string => pools.home + name.slice(pools.box.length)

/** Datasets of the box with snapshots that home has no longer, under any name; but for those that the owner knows of. */
export const vanishedDatasets = (
  { home, exclude, box, pools }: World,
  state: DeletionState,
): readonly Dataset[] => {
  const names = new Set(home.map(({ name }) => name))
  return box.filter(
    ({ name, guid, snapshots }) =>
      snapshots.length > 0 &&
      !names.has(homeName(name, pools)) &&
      !exclude.some((out) => isBelow(homeName(name, pools), out)) &&
      state.datasets[guid] === undefined,
  )
}

const some = (names: readonly string[]): string =>
  names.slice(0, SHOWN).join(', ') + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '')

const CONSENT = 'nothing of it was destroyed; if it is meant, say --accept-deletions once'

/** What to tell of datasets that have vanished at home. */
export const vanishedProblems = (vanished: readonly Dataset[], pools: Pools): readonly Problem[] =>
  vanished.length === 0
    ? []
    : [
        {
          dataset: homeName(vanished[0]?.name ?? '', pools),
          kind: 'deletion',
          message: `no longer at home, but on the box: ${some(vanished.map(({ name }) => homeName(name, pools)))}`,
          hint: CONSENT,
        },
      ]

/** A clock that went back, or ahead by more than home can have been away: what was counted by it is worth nothing. */
const hasJumped = ({ since, last }: Missing, now: Date): boolean => {
  const time = now.getTime()
  const day = Date.parse(`${last}T00:00:00Z`)
  return time < Date.parse(since) || time < day || time - day > LONGEST_AWAY * 86_400_000
}

const isDue = (missing: Missing, grace: number, now: Date): boolean =>
  missing.days >= LEAST_DAYS && now.getTime() - new Date(missing.since).getTime() >= grace * 86_400_000

/**
 * Plans what the box may forget. Never the newest snapshot of a dataset, never one that the box holds, nothing of a dataset that is
 * excluded, in trouble (`untouched`, home's names), vanished without consent, or kept. More than the policy's share is a problem, but
 * for what the owner has `accepted`, now or in an earlier run.
 */
export const planDeletions = (
  world: World,
  before: DeletionState,
  policy: DeletionPolicy,
  untouched: ReadonlySet<string>,
  accepted: boolean,
  now: Date,
): DeletionPlan => {
  const { home, exclude, box, pools } = world
  const atHome = new Set(home.flatMap(({ snapshots }) => snapshots.map(({ guid }) => guid)))
  const today = now.toISOString().slice(0, 10)
  const vanished = vanishedDatasets(world, before)
  const datasets: Record<string, 'gone' | 'kept'> = {}
  for (const { guid } of box) {
    const known = before.datasets[guid]
    if (known !== undefined) datasets[guid] = known
  }
  const parted = new Set(accepted ? vanished.map(({ guid }) => guid) : [])
  for (const guid of parted) datasets[guid] = 'gone'
  const left = new Set(accepted ? [] : vanished.map(({ name }) => name))

  const missing: Record<string, Missing> = {}
  const due: Doomed[] = []
  const agreed: Doomed[] = []
  for (const { name, guid, snapshots } of box) {
    const here = homeName(name, pools)
    if (left.has(name) || untouched.has(here) || datasets[guid] === 'kept') continue
    if (exclude.some((out) => isBelow(here, out))) continue
    const names: Record<'due' | 'agreed', string[]> = { due: [], agreed: [] }
    for (const snapshot of snapshots.slice(0, -1)) {
      if (atHome.has(snapshot.guid) || snapshot.held) continue
      const anew = { since: now.toISOString(), days: 0, last: '' }
      const known = before.missing[snapshot.guid]
      const seen = known === undefined || hasJumped(known, now) ? anew : known
      const entry = seen.last === today ? seen : { ...seen, days: seen.days + 1, last: today }
      const isOver = isDue(entry, policy.grace, now)
      const isAgreed = known?.agreed === true || parted.has(guid) || (accepted && isOver)
      missing[snapshot.guid] = isAgreed ? { ...entry, agreed: true } : entry
      if (isOver) names[isAgreed ? 'agreed' : 'due'].push(snapshot.name)
    }
    if (names.due.length > 0) due.push({ dataset: name, snapshots: names.due })
    if (names.agreed.length > 0) agreed.push({ dataset: name, snapshots: names.agreed })
  }
  const total = box.reduce((sum, { snapshots }) => sum + snapshots.length, 0)
  const cap = Math.max(LEAST_CAP, Math.floor((total * policy.most) / 100))
  const count = due.reduce((sum, { snapshots }) => sum + snapshots.length, 0)
  const isMass = count > cap
  const problems: Problem[] = [...(accepted ? [] : vanishedProblems(vanished, pools))]
  if (isMass)
    problems.push({
      dataset: pools.home,
      kind: 'deletion',
      message:
        `${count} snapshots of the box are gone at home since ${policy.grace} days or more, and ${cap} may go in one run: ` +
        some(due.map(({ dataset, snapshots }) => `${snapshots.length} of ${homeName(dataset, pools)}`)),
      hint: CONSENT,
    })
  // what was agreed to may take the box days: the others go first, lest they become many meanwhile
  return { destroy: isMass ? agreed : [...due, ...agreed], problems, state: { missing, datasets } }
}
