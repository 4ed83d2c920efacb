import { parseInventory } from '../tools/zfs.ts'
import { NO_DELETIONS, planDeletions } from './deletions.ts'
import { planBackup } from './plan.ts'

export interface PlanMeasure {
  /** from the text of both lists to the plan */
  readonly seconds: number
  /** resident memory of the process afterwards, in bytes */
  readonly memory: number
}

/** How long a run over so many datasets and snapshots thinks, if nothing has changed. */
export const measurePlan = (datasets: number, snapshots: number): PlanMeasure => {
  const listOf = (pool: string) => [
    `${pool}\tfilesystem\t1\t1\t-`,
    ...Array.from({ length: datasets }, (_, n) => [
      `${pool}/data set ${n}\tfilesystem\t${n + 2}\t1\t-`,
      ...Array.from({ length: snapshots }, (__, k) => {
        const guid = (n + 1) * 1_000_000 + k
        return `${pool}/data set ${n}@2026-01-01T00:00:00Z-${k}\tsnapshot\t${guid}\t${k + 2}\t0`
      }),
    ]).flat(),
  ]
  const texts = [listOf('tank').join('\n'), listOf('wd').join('\n')]
  const started = performance.now()
  const [home = [], box = []] = texts.map((text) => parseInventory(text.split('\n')))
  const pools = { home: 'tank', box: 'wd' }
  planBackup(home, box, pools)
  const world = { home, box, exclude: [], pools }
  planDeletions(world, NO_DELETIONS, { grace: 30, most: 10 }, new Set(), false, new Date())
  return { seconds: (performance.now() - started) / 1000, memory: process.memoryUsage.rss() }
}
