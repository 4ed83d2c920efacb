import { EXIT_CODES, type ExitName } from '../core/errors.ts'
import { formatDuration } from '../core/sizes.ts'
import type { ListedKey } from '../keys/key-folder.ts'
import { isBelow } from '../runtime/plan-box.ts'
import type { Status } from '../runtime/status.ts'

/** What is wrong with a backup as far as home knows it: pure, the same for `check` and `doctor`. */

export type Level = 'ok' | 'warning' | 'critical'

export interface Trouble {
  readonly level: Exclude<Level, 'ok'>
  readonly text: string
  readonly hint: string
}

const DAY = 86_400

/** seconds before a certificate's end from which on it is said */
export const CERTIFICATE_NOTICE = 30 * DAY
/** per cent of the box's pool that should be free */
export const LEAST_FREE = 10

/** seconds that a proof may lie in the future: two clocks are never quite the same */
export const CLOCKS = 300

/**
 * Seconds since the box was last known to have all of it: since the last proof, or since a later run that asked the box and
 * found nothing to send. Undefined if there never was a proof.
 */
export const proofAge = ({ provedAt, lastRun }: Status, now: Date): number | undefined => {
  if (provedAt === undefined) return undefined
  const times = [provedAt, ...(lastRun?.succeeded == null ? [] : [lastRun.succeeded])]
  return (now.getTime() - Math.max(...times.map((time) => Date.parse(time)))) / 1000
}

/** The last proof must not be older than `maxAge` seconds; after twice that it is critical. */
export const ofProof = (status: Status, maxAge: number, now: Date): readonly Trouble[] => {
  const age = proofAge(status, now)
  if (age === undefined)
    return [{ level: 'critical', text: 'nothing was ever proved to be on the box', hint: 'knox backup' }]
  if (age < -CLOCKS)
    return [
      {
        level: 'warning',
        text: `the last proof lies ${formatDuration(-age)} in the future`,
        hint: 'is the clock right?',
      },
    ]
  if (age <= maxAge) return []
  const text = `nothing proved for ${formatDuration(age)}`
  return [{ level: age > 2 * maxAge ? 'critical' : 'warning', text, hint: 'knox backup shows what is wrong' }]
}

/** these may mend themselves by the next run */
const PASSING: readonly ExitName[] = [
  'unreachable',
  'connection-lost',
  'busy',
  'interrupted',
  'partial',
  'refused',
]

/** How the last run ended. */
export const ofLastRun = ({ lastRun }: Status): readonly Trouble[] => {
  if (lastRun === undefined || lastRun.exit === 'ok') return []
  const text = `the last run failed (exit ${EXIT_CODES[lastRun.exit]}): ${lastRun.message}`
  const level = PASSING.includes(lastRun.exit) ? 'warning' : 'critical'
  return [{ level, text, hint: lastRun.hints[0] ?? 'knox backup --verbose' }]
}

/**
 * Datasets of which the box lacks a snapshot for longer than `maxAge` seconds, although it was there to be sent.
 * `creations` says when each dataset and snapshot at home was made. A dataset that never had a snapshot counts by its own age. That the newest snapshot is not there yet is no trouble.
 */
export const lateDatasets = (
  { datasets }: Status,
  creations: ReadonlyMap<string, number>,
  maxAge: number,
  now: Date,
): readonly string[] =>
  datasets.flatMap(({ dataset, state, lacks }) => {
    if (state === 'proved' || state === 'box-only') return []
    const made = creations.get(lacks === undefined ? dataset : `${dataset}@${lacks}`)
    return made !== undefined && now.getTime() / 1000 - made > maxAge ? [dataset] : []
  })

/**
 * When each snapshot at home was made, in seconds, without those of excluded datasets, and without those of a clock that was ahead: neither
 * says that anything is saved now.
 */
export const snapshotTimes = (
  creations: ReadonlyMap<string, number>,
  exclude: readonly string[],
  now: Date,
): readonly number[] =>
  [...creations].flatMap(([name, time]) => {
    const [dataset = '', snapshot] = name.split('@')
    const counts = snapshot !== undefined && !exclude.some((out) => isBelow(dataset, out))
    return counts && time <= now.getTime() / 1000 + CLOCKS ? [time] : []
  })

/** The newest snapshot at home must not be older than `maxAge` seconds: without new ones all stays proved, and nothing is saved. */
export const ofSnapshots = (times: readonly number[], maxAge: number, now: Date): readonly Trouble[] => {
  const newest = times.reduce((max, time) => Math.max(max, time), 0)
  const age = now.getTime() / 1000 - newest
  if (newest === 0 || age <= maxAge) return []
  const text = `the newest snapshot at home is ${formatDuration(age)} old`
  return [{ level: 'warning', text, hint: 'knox snapback takes one and sends it' }]
}

/** The list of late datasets as one trouble. */
export const ofLate = (late: readonly string[]): readonly Trouble[] => {
  const more = late.length > 1 ? ` and ${late.length - 1} more` : ''
  if (late.length === 0) return []
  const text = `not on the box: newer snapshots of ${late[0] ?? ''}${more}`
  return [{ level: 'warning', text, hint: 'knox status shows which, knox backup why' }]
}

/** The box's pool at the last proof: per cent free, undefined if never proved. */
export const freePercent = ({ used, available }: Status): number | undefined =>
  used === undefined || available === undefined || used + available <= 0
    ? undefined
    : (100 * available) / (used + available)

export const ofSpace = (status: Status): readonly Trouble[] => {
  const free = freePercent(status)
  if (free === undefined || free >= LEAST_FREE) return []
  const text = `only ${free.toFixed(1)} % of the box’s pool were free at the last proof`
  return [{ level: 'warning', text, hint: 'a larger disk, or fewer datasets (home.exclude in knox.yaml)' }]
}

/** what a backup cannot be without */
const DAILY = /^(?:knox-send|knox-fifo|geli\.key)/

/** Keys and certificates: what `knox keys list` finds wrong, and what ends soon. */
export const ofKeys = (keys: readonly ListedKey[], now: Date): readonly Trouble[] =>
  keys.flatMap(({ file, problems, certificate }): readonly Trouble[] => {
    const level = DAILY.test(file) ? 'critical' : 'warning'
    const hint = certificate === undefined ? 'knox keys list' : 'knox keys renew makes new ones'
    if (problems.length > 0) return problems.map((problem) => ({ level, text: `${file}: ${problem}`, hint }))
    const end = Date.parse(certificate?.validBefore ?? '')
    const left = (end - now.getTime()) / 1000
    if (Number.isNaN(left) || left > CERTIFICATE_NOTICE) return []
    return [{ level: 'warning', text: `${file} expires in ${formatDuration(left)}`, hint }]
  })

/** What the last proof, `verify` and `scrub` found, if there were any. */
export const ofContents = ({ trouble, verify, scrub }: Status): readonly Trouble[] => [
  ...(trouble === undefined
    ? []
    : [
        {
          level: 'critical' as const,
          text: `the box’s disk fails: ${trouble}`,
          hint: 'prepare another disk while this one still answers',
        },
      ]),
  ...(verify === undefined || verify.different.length === 0
    ? []
    : [
        {
          level: 'critical' as const,
          text: `${verify.different.length} files are not the same on the box`,
          hint: 'knox status',
        },
      ]),
  ...(scrub === undefined || (scrub.errors === 0 && scrub.damaged.length === 0 && scrub.state === 'ONLINE')
    ? []
    : [
        {
          level: 'critical' as const,
          text: `the box’s pool is damaged (${[scrub.state, `${scrub.errors} errors`, ...scrub.damaged.slice(0, 1)].join(', ')})`,
          hint: 'knox scrub; a new disk may be needed',
        },
      ]),
]
