import type { Dataset, Snapshot } from '../tools/zfs.ts'
import { snapshotName } from './snapshot.ts'

/** Pure: which of home's snapshots may go, and why the others stay. */

/** How many of the newest hours, days ... that have a snapshot keep one. */
export interface Policy {
  readonly hourly: number
  readonly daily: number
  readonly weekly: number
  readonly monthly: number
  readonly yearly: number
}

export interface Decision {
  readonly dataset: string
  readonly snapshot: string
  readonly keep: boolean
  readonly reason: string
}

/** snapshots that knox took itself; a suffix tells two of one second apart */
const OWN = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)(?:-\d{1,3})?$/

/** The time in a name of knox's own form, as text; undefined for every other name, such as the 30th of February. */
const ownTime = (name: string): string | undefined => {
  const text = OWN.exec(name)?.[1]
  const time = new Date(text ?? Number.NaN)
  return Number.isNaN(time.getTime()) || snapshotName(time) !== text ? undefined : text
}

const DAY = 86_400_000
/** 1970-01-01 was a Thursday: weeks begin on Monday */
const weekOf = (time: number): string =>
  `week of ${new Date((Math.floor((time / DAY + 3) / 7) * 7 - 3) * DAY).toISOString().slice(0, 10)}`

const PERIODS: readonly (readonly [keyof Policy, (time: number, text: string) => string])[] = [
  ['yearly', (_, text) => text.slice(0, 4)],
  ['monthly', (_, text) => text.slice(0, 7)],
  ['weekly', weekOf],
  ['daily', (_, text) => text.slice(0, 10)],
  ['hourly', (_, text) => `${text.slice(0, 13)} h`],
]

/** Why the policy keeps a snapshot: it is the newest of one of the periods that count. Newest first. */
const keptByPolicy = (snapshots: readonly Snapshot[], policy: Policy): ReadonlyMap<Snapshot, string> => {
  const kept = new Map<Snapshot, string>()
  const own = snapshots.filter(({ name }) => ownTime(name) !== undefined).toReversed()
  for (const [period, nameOf] of PERIODS) {
    const seen = new Set<string>()
    for (const snapshot of own) {
      const text = ownTime(snapshot.name) ?? ''
      const name = nameOf(Date.parse(text), text)
      if (seen.has(name) || seen.size === policy[period]) continue
      seen.add(name)
      if (!kept.has(snapshot)) kept.set(snapshot, `newest of ${name}`)
    }
  }
  return kept
}

/**
 * Decides for every snapshot of a dataset. What is newer than `common`, the guid of the newest snapshot that the box has too, stays whatever the
 * policy says, and so does all of a dataset that has none in common. `origins` are the snapshots (`dataset@name`) that have clones.
 */
export const decide = (
  dataset: Dataset,
  policy: Policy,
  common: string | undefined,
  origins: ReadonlySet<string> = new Set(),
): readonly Decision[] => {
  const { name, snapshots } = dataset
  const at = snapshots.findIndex(({ guid }) => guid === common)
  const kept = keptByPolicy(snapshots, policy)
  const reasonFor = (snapshot: Snapshot, index: number): string | undefined => {
    if (at === -1) return 'no snapshot of its dataset is known to be on the box'
    if (index > at) return 'not on the box yet'
    if (index === at) return 'the next backup needs it'
    if (index === snapshots.length - 1) return 'the newest'
    if (snapshot.held) return 'held'
    if (ownTime(snapshot.name) === undefined) return 'not taken by knox'
    if (origins.has(`${name}@${snapshot.name}`)) return 'a clone needs it'
    return kept.get(snapshot)
  }
  return snapshots.map((snapshot, index) => {
    const reason = reasonFor(snapshot, index)
    return {
      dataset: name,
      snapshot: snapshot.name,
      keep: reason !== undefined,
      reason: reason ?? 'no period keeps it',
    }
  })
}
