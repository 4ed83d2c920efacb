import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { homeFolder } from '../system/config-file.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { destroySnapshots } from '../tools/zfs-hold.ts'
import { readHome } from './backup.ts'
import { readReceipt } from './receipt.ts'
import { decide, type Decision } from './retention.ts'

/** What would become of each of home's snapshots. Throws `config` if knox.yaml has no policy. */
export const planPrune = async (config: Config, emit: Emit): Promise<readonly Decision[]> => {
  const { keep, pool } = config.home
  if (keep === undefined)
    throw new KnoxError('config', 'knox.yaml does not say which snapshots are to be kept', [
      'such as home.keep: {hourly: 24, daily: 14, weekly: 8, monthly: 12, yearly: 5}',
    ])
  const receipt = await readReceipt(homeFolder(config))
  const newest = new Map(receipt?.datasets.map((dataset) => [dataset.name, dataset.newest?.guid]))
  const home = await readHome(config, emit)
  return home.flatMap((dataset) =>
    decide(dataset, keep, newest.get(config.box.pool + dataset.name.slice(pool.length))),
  )
}

const namesOf = (decisions: readonly Decision[], dataset: string): readonly string[] =>
  decisions.flatMap((one) => (one.dataset === dataset ? [one.snapshot] : []))

/**
 * Thins home by the policy of knox.yaml; returns what it destroyed. Never what the next backup needs: while it works no backup runs.
 * Throws `verification` if something is left that should have gone, or gone that should have been left.
 */
export const prune = (config: Config, emit: Emit): Promise<readonly Decision[]> =>
  withLock(homeFolder(config), async () => {
    const decisions = await planPrune(config, emit)
    const doomed = decisions.filter(({ keep }) => !keep)
    const runner = runnerAt(HERE, emit)
    for (const dataset of new Set(doomed.map((one) => one.dataset)))
      for (const change of destroySnapshots(dataset, namesOf(doomed, dataset)))
        await runner.act(change).catch((error: unknown) => {
          if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
        })
    const left = new Set(
      (await readHome(config, emit)).flatMap(({ name, snapshots }) =>
        snapshots.map((snapshot) => `${name}@${snapshot.name}`),
      ),
    )
    const wrong = decisions.filter(
      ({ dataset, snapshot, keep }) => left.has(`${dataset}@${snapshot}`) !== keep,
    )
    if (wrong.length > 0)
      throw new KnoxError(
        'verification',
        `home does not have what was to be left: ${wrong.map((one) => `${one.dataset}@${one.snapshot}`).join(', ')}`,
        ['does another program prune this pool too?'],
      )
    return doomed
  })
