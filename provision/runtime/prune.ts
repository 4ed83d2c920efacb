import { userInfo } from 'node:os'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { quoteAll } from '../core/quote.ts'
import { homeFolder } from '../system/config-file.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { allowedUsers, allowUser, PRUNE_RIGHTS } from '../tools/zfs-allow.ts'
import { destroySnapshots } from '../tools/zfs-hold.ts'
import { listOrigins } from '../tools/zfs.ts'
import { readHome } from './backup.ts'
import { readReceipt } from './receipt.ts'
import { decide, type Decision } from './retention.ts'

/** Throws `platform`, with the line that helps, if zfs allow (zfs-allow(8)) does not give this user what pruning needs. */
export const requireToPrune = async (
  { home: { pool } }: Config,
  emit: Emit,
  { uid, username }: { readonly uid: number; readonly username: string } = userInfo(),
): Promise<void> => {
  if (uid === 0) return
  const users = await runnerAt(HERE, emit).read(allowedUsers(pool, PRUNE_RIGHTS))
  if (!users.includes(username))
    throw new KnoxError('platform', `zfs allow does not let ${username} destroy snapshots of ${pool}`, [
      `once, as root: ${quoteAll(allowUser(username, pool, PRUNE_RIGHTS).argv)}`,
    ])
}

/** What would become of each of home's snapshots. Throws `config` if knox.yaml has no policy. */
export const planPrune = async (config: Config, emit: Emit): Promise<readonly Decision[]> => {
  const { keep, pool } = config.home
  if (keep === undefined)
    throw new KnoxError('config', 'knox.yaml does not say which snapshots are to be kept', [
      'such as home.keep: {hourly: 24, daily: 14, weekly: 8, monthly: 12, yearly: 5}',
    ])
  const receipt = await readReceipt(homeFolder(config))
  // the proof of another box says nothing of what this one needs
  const datasets = receipt?.box === config.box.name ? receipt.datasets : []
  const newest = new Map(datasets.map((dataset) => [dataset.name, dataset.newest?.guid]))
  const home = await readHome(config, emit)
  const origins = await runnerAt(HERE, emit).read(listOrigins(pool))
  return home.flatMap((dataset) =>
    decide(dataset, keep, newest.get(config.box.pool + dataset.name.slice(pool.length)), origins),
  )
}

const nameOf = ({ dataset, snapshot }: Decision): string => `${dataset}@${snapshot}`

/** Destroys snapshots of one dataset; true if zfs did, or they were gone already, false if it refused. */
const destroy = async (dataset: string, names: readonly string[], emit: Emit): Promise<boolean> => {
  for (const change of destroySnapshots(dataset, names))
    try {
      await runnerAt(HERE, emit).act(change)
    } catch (error) {
      if (!(error instanceof KnoxError)) throw error
      if (error.code === 'failed') return false
      if (error.code !== 'busy') throw error
    }
  return true
}

/** Destroys what may go; what zfs refuses, as for a hold or a clone of the last minute. One that is refused does not keep the others. */
const destroyAll = async (doomed: readonly Decision[], emit: Emit): Promise<ReadonlySet<string>> => {
  const refused = new Set<string>()
  for (const dataset of new Set(doomed.map((one) => one.dataset))) {
    const names = doomed.filter((one) => one.dataset === dataset).map(({ snapshot }) => snapshot)
    if (await destroy(dataset, names, emit)) continue
    for (const name of names) if (!(await destroy(dataset, [name], emit))) refused.add(`${dataset}@${name}`)
  }
  return refused
}

const warnOf = (names: readonly string[], text: string, emit: Emit): void => {
  if (names.length > 0) emit({ type: 'warning', text: `${text}: ${names.join(', ')}` })
}

/**
 * Thins home by the policy of knox.yaml; returns what it destroyed: of what the owner `agreed` to what may still go. Never what the
 * next backup needs: while it works no backup runs. What zfs refuses, and what others have destroyed meanwhile, is told.
 * Throws `verification` if something is left that zfs said it destroyed.
 */
export const prune = (
  config: Config,
  agreed: readonly Decision[],
  emit: Emit,
): Promise<readonly Decision[]> =>
  withLock(homeFolder(config), async () => {
    const names = new Set(agreed.filter(({ keep }) => !keep).map(nameOf))
    const decisions = await planPrune(config, emit)
    const doomed = decisions.filter((one) => !one.keep && names.has(nameOf(one)))
    const refused = await destroyAll(doomed, emit)
    const left = new Set(
      (await readHome(config, emit)).flatMap(({ name, snapshots }) =>
        snapshots.map((snapshot) => `${name}@${snapshot.name}`),
      ),
    )
    const kept = decisions.filter(({ keep }) => keep).map(nameOf)
    warnOf(
      [...refused].filter((name) => left.has(name)),
      'zfs did not destroy them, something still needs them',
      emit,
    )
    warnOf(
      kept.filter((name) => !left.has(name)),
      'another program has destroyed them meanwhile',
      emit,
    )
    const wrong = doomed.map(nameOf).filter((name) => left.has(name) && !refused.has(name))
    if (wrong.length > 0)
      throw new KnoxError('verification', `home still has what zfs said it destroyed: ${wrong.join(', ')}`)
    return doomed.filter((one) => !left.has(nameOf(one)))
  })
