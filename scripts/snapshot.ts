import { defineCommand, type Knox } from '../provision/cli/command.ts'
import type { Change } from '../provision/core/command.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { takeSnapshot } from '../provision/runtime/snapshot.ts'
import { dryRunner, HERE, runnerAt } from '../provision/system/runner.ts'

/** Takes the snapshot, or shows the command; also the first half of snapback. */
export const snapshotHome = async (knox: Knox): Promise<void> => {
  const config = await knox.config()
  const runner = runnerAt(HERE, knox.emit)
  const show = ({ argv }: Change) => knox.emit({ type: 'note', text: `would run: ${quoteAll(argv)}` })
  const name = await takeSnapshot(config, knox.dryRun ? dryRunner(runner, show) : runner, new Date())
  knox.emit({
    type: 'done',
    title: `snapshot ${config.home.pool}@${name}${knox.dryRun ? ' (not taken)' : ''}`,
  })
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
