import type { Change } from '../core/command.ts'
import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { hold, release } from '../tools/zfs-hold.ts'
import type { Dataset } from '../tools/zfs.ts'
import type { Goal } from './plan.ts'

/** The hold of a box on home's snapshots. */
export const tagOf = (config: Config): string => `knox:${config.box.name}`

/**
 * After a proof: the newest snapshot that both sides have is held at home, so that nobody breaks the chain by pruning it. First the
 * new holds, then the older ones go: a crash in between leaves one too many, which goes next time. `home` as it was at the begin of
 * the run, `sent` names the datasets of which this run sent something. A user who may not do it is warned, since the backup itself is good. What is held already may be held for another box, so
 * that it gets this box's hold too.
 */
export const holdAtHome = async (
  config: Config,
  home: readonly Dataset[],
  goals: readonly Goal[],
  sent: ReadonlySet<string>,
  emit: Emit,
): Promise<void> => {
  const runner = runnerAt(HERE, emit)
  const tag = tagOf(config)
  const newest = new Map(goals.map((goal) => [goal.home, goal.newest.guid]))
  const all = home.flatMap(({ name, snapshots }) =>
    newest.has(name) ? snapshots.map((snapshot) => ({ name, snapshot })) : [],
  )
  const isNewest = ({ name, snapshot }: (typeof all)[number]) => newest.get(name) === snapshot.guid
  const nameOf = ({ name, snapshot }: (typeof all)[number]) => `${name}@${snapshot.name}`
  const unheld = all.filter((one) => isNewest(one) && !one.snapshot.held).map(nameOf)
  const heldBySomeone = all
    .filter((one) => isNewest(one) && one.snapshot.held && sent.has(one.name))
    .map(nameOf)
  const older = all.filter((one) => !isNewest(one) && one.snapshot.held).map(nameOf)
  if (unheld.length + heldBySomeone.length === 0) return
  const act = async (change: Change): Promise<void> => {
    try {
      await runner.act(change)
    } catch (error) {
      if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
    }
  }
  try {
    for (const change of [...hold(tag, unheld), ...hold(tag, heldBySomeone), ...release(tag, older)])
      await act(change)
  } catch (error) {
    const [hint] = error instanceof KnoxError ? error.hints : []
    emit({
      type: 'warning',
      text: `the newest snapshots are not held at home: ${messageOf(error)}`,
      ...(hint === undefined ? {} : { hint }),
    })
  }
}
