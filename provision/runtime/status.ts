import type { Config } from '../core/config.ts'
import type { Emit } from '../core/events.ts'
import { homeFolder } from '../system/config-file.ts'
import { readHome } from './backup.ts'
import { readLastRun, type LastRun } from './last-run.ts'
import { readReceipt, receiptAge } from './receipt.ts'
import { readScrubState, type ScrubState } from './scrub.ts'
import { readVerifyState, type VerifyState } from './verify-state.ts'

export interface DatasetStatus {
  readonly dataset: string
  readonly snapshots: number
  /** newest snapshot at home, and newest on the box at the last proof */
  readonly home: string | undefined
  readonly box: string | undefined
  /** oldest snapshot at home that is newer than all that the box had of it */
  readonly lacks: string | undefined
  readonly state: 'proved' | 'behind' | 'not-on-box' | 'no-snapshot' | 'box-only'
}

export interface Status {
  readonly box: string
  readonly provedAt: string | undefined
  /** seconds since the last proof */
  readonly age: number | undefined
  /** bytes on the box's pool at the last proof */
  readonly used: number | undefined
  readonly available: number | undefined
  /** what ZFS said of a disk that fails, at the last proof */
  readonly trouble: string | undefined
  readonly datasets: readonly DatasetStatus[]
  readonly verify: VerifyState | undefined
  readonly scrub: ScrubState | undefined
  /** how the last backup or snapback ended */
  readonly lastRun: LastRun | undefined
}

/** How home and box stand by the last proof; neither the box nor the key is touched. */
export const status = async (config: Config, emit: Emit, now: Date): Promise<Status> => {
  const home = await readHome(config, emit)
  const folder = homeFolder(config)
  const receipt = await readReceipt(folder)
  const onBox = new Map(receipt?.datasets.map((dataset) => [dataset.name, dataset]))
  const boxName = (name: string) => config.box.pool + name.slice(config.home.pool.length)
  const datasets = home.map(({ name, snapshots }): DatasetStatus => {
    const ours = snapshots.at(-1)
    const theirs = onBox.get(boxName(name))?.newest ?? undefined
    const state =
      ours === undefined
        ? 'no-snapshot'
        : theirs === undefined
          ? 'not-on-box'
          : theirs.guid === ours.guid
            ? 'proved'
            : 'behind'
    // -1 where the box has none of them
    const common = snapshots.findLastIndex(({ guid }) => guid === theirs?.guid)
    const lacks = snapshots[common + 1]?.name
    return { dataset: name, snapshots: snapshots.length, home: ours?.name, box: theirs?.name, lacks, state }
  })
  const known = new Set(home.map(({ name }) => boxName(name)))
  const boxOnly = (receipt?.datasets ?? [])
    .filter(({ name }) => !known.has(name))
    .map(({ name, snapshots, newest }): DatasetStatus => ({
      dataset: name,
      snapshots,
      home: undefined,
      box: newest?.name,
      lacks: undefined,
      state: 'box-only',
    }))
  return {
    box: config.box.name,
    provedAt: receipt?.provedAt,
    age: receipt === undefined ? undefined : receiptAge(receipt, now),
    used: receipt?.pool.used,
    available: receipt?.pool.available,
    trouble: receipt?.pool.trouble || undefined,
    datasets: [...datasets, ...boxOnly],
    verify: await readVerifyState(folder),
    scrub: await readScrubState(folder),
    lastRun: await readLastRun(folder),
  }
}
