import { defineCommand, type Knox } from '../provision/cli/command.ts'
import type { Change } from '../provision/core/command.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { isBelow } from '../provision/runtime/plan-box.ts'
import { readRestoring, restoringFile } from '../provision/runtime/restoring.ts'
import { takeSnapshot } from '../provision/runtime/snapshot.ts'
import { homeFolder } from '../provision/system/config-file.ts'
import { dryRunner, HERE, runnerAt } from '../provision/system/runner.ts'

/** The targets of unfinished restores, each of which is told: it gets no snapshot. */
const beingRestored = async (knox: Knox): Promise<readonly string[]> => {
  const config = await knox.config()
  const { home, box } = config
  const folder = homeFolder(config)
  const restores = (await readRestoring(folder)).filter(({ target }) => isBelow(target, home.pool))
  for (const { source, target } of restores) {
    const again = ['knox', 'restore', home.pool + source.slice(box.pool.length), '--to', target]
    knox.emit({
      type: 'warning',
      text: `${target} is being restored and gets no snapshots until that is done`,
      hint: `to go on: ${quoteAll(again)}; if it is not wanted any more: ${quoteAll(['rm', restoringFile(folder)])}`,
    })
  }
  return restores.map(({ target }) => target)
}

/** Takes the snapshot, or shows the command; also the first half of snapback. Returns what got none, since it is being restored. */
export const snapshotHome = async (knox: Knox): Promise<readonly string[]> => {
  const config = await knox.config()
  const runner = runnerAt(HERE, knox.emit)
  const show = ({ argv }: Change) => knox.emit({ type: 'note', text: `would run: ${quoteAll(argv)}` })
  const restoring = await beingRestored(knox)
  const taker = knox.dryRun ? dryRunner(runner, show) : runner
  const name = await takeSnapshot(config, taker, new Date(), restoring)
  if (name === undefined)
    knox.emit({ type: 'warning', text: `no snapshot was taken: all of ${config.home.pool} is left out` })
  else
    knox.emit({
      type: 'done',
      title: `snapshot ${config.home.pool}@${name}${knox.dryRun ? ' (not taken)' : ''}`,
    })
  return restoring
}

export const snapshot = defineCommand({
  name: 'snapshot',
  summary:
    'take a snapshot of the pool and every dataset below it but home.exclude, named by the time in UTC',
  run: async (knox) => {
    await snapshotHome(knox)
    return undefined
  },
})
