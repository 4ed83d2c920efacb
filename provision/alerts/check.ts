import type { Config } from '../core/config.ts'
import { messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { formatDuration } from '../core/sizes.ts'
import { listKeys, requireKeys } from '../keys/key-folder.ts'
import { status as readStatus, type Status } from '../runtime/status.ts'
import { homeFolder } from '../system/config-file.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { listCreations } from '../tools/zfs.ts'
import {
  freePercent,
  lateDatasets,
  LEAST_FREE,
  ofContents,
  ofKeys,
  ofLastRun,
  ofLate,
  ofProof,
  ofSnapshots,
  snapshotTimes,
  ofSpace,
  proofAge,
  type Trouble,
} from './assess.ts'

/** A plugin of Nagios and its kin: one line, perfdata, four exit codes. https://nagios-plugins.org/doc/guidelines.html */

export const PLUGIN_CODES = { OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3 } as const
export type PluginState = keyof typeof PLUGIN_CODES

export interface Checked {
  readonly state: PluginState
  /** the line for stdout */
  readonly line: string
  readonly troubles: readonly Trouble[]
  readonly status: Status
}

/** One line: a bar would begin the perfdata. */
const oneLine = (text: string): string => printable(text).replaceAll('|', '/')

const homeDatasets = ({ datasets }: Status): number =>
  datasets.filter(({ state }) => state !== 'box-only').length

const perfdata = (status: Status, late: readonly string[], maxAge: number, now: Date): readonly string[] => {
  const age = proofAge(status, now)
  const free = freePercent(status)
  const seconds = (label: string, time: string | null | undefined) =>
    time == null ? [] : [`${label}=${Math.round((now.getTime() - Date.parse(time)) / 1000)}s`]
  return [
    ...(age === undefined ? [] : [`age=${Math.round(age)}s;${maxAge};${2 * maxAge}`]),
    `datasets=${homeDatasets(status)}`,
    `behind=${late.length};0`,
    ...(free === undefined ? [] : [`free=${free.toFixed(1)}%;${LEAST_FREE}:;;0;100`]),
    ...seconds('run', status.lastRun?.ended),
    ...seconds('verify', status.verify?.at),
    ...seconds('scrub', status.scrub?.finished),
  ]
}

/** The plugin's line for whatever keeps it from looking. */
export const unknown = (error: unknown): string => `KNOX UNKNOWN - ${oneLine(messageOf(error))}`

/**
 * Looks at home only: receipt, last run, snapshots, keys. Neither the box nor a person is asked, nothing is changed.
 * `maxAge` in seconds. Throws what keeps it from looking, such as `config` without keys.
 */
export const check = async (config: Config, maxAge: number, emit: Emit, now: Date): Promise<Checked> => {
  const folder = homeFolder(config)
  await requireKeys(folder)
  const keys = await listKeys(folder, now)
  const status = await readStatus(config, emit, now)
  const creations = await runnerAt(HERE, emit).read(listCreations(config.home.pool))
  const late = lateDatasets(status, creations, maxAge, now)
  const troubles = [
    ...ofProof(status, maxAge, now),
    ...ofLastRun(status),
    ...ofLate(late),
    ...ofSnapshots(snapshotTimes(creations, config.home.exclude, now), maxAge, now),
    ...ofContents(status),
    ...ofSpace(status),
    ...ofKeys(keys, now),
  ]
  const state = troubles.some(({ level }) => level === 'critical')
    ? 'CRITICAL'
    : troubles.length > 0
      ? 'WARNING'
      : 'OK'
  const age = proofAge(status, now)
  const worst = [...troubles].sort((a, b) => a.level.localeCompare(b.level))
  const words =
    troubles.length > 0
      ? worst.map(({ text }) => text).join('; ')
      : `proved ${formatDuration(age ?? 0)} ago, ${homeDatasets(status)} datasets`
  const line = `KNOX ${state} - ${oneLine(words)} | ${perfdata(status, late, maxAge, now).join(' ')}`
  return { state, line, troubles, status }
}
