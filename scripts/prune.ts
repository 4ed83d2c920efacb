import { defineCommand } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { planPrune, prune as runPrune } from '../provision/runtime/prune.ts'
import type { Decision } from '../provision/runtime/retention.ts'

const describe = (decisions: readonly Decision[]): string =>
  decisions
    .map(
      ({ dataset, snapshot, keep, reason }) =>
        `${keep ? 'keep   ' : 'destroy'}  ${dataset}@${snapshot}  ${reason}`,
    )
    .join('\n')

/** Exit: 0 done, 3 no policy in knox.yaml, 4 not confirmed, 11 a backup is under way, 14 zfs said it destroyed what is still there. */
export const prune = defineCommand({
  name: 'prune',
  summary: 'thin home’s snapshots by the policy in knox.yaml, without breaking the chain to the box',
  details:
    'Only snapshots that knox took, that the box has, and that nothing holds. --dry-run shows each with its reason.',
  watch: watchedAs('prune', 'check'),
  run: async (knox) => {
    const config = await knox.config()
    const decisions = await planPrune(config, knox.emit)
    const doomed = decisions.filter(({ keep }) => !keep)
    if (knox.dryRun) {
      knox.result(describe(decisions), decisions)
      return undefined
    }
    const kept = decisions.length - doomed.length
    if (doomed.length > 0)
      await knox.confirm(`destroy ${doomed.length} of ${decisions.length} snapshots at home, keep ${kept}?`)
    const destroyed = doomed.length === 0 ? [] : await runPrune(config, doomed, knox.emit)
    const left = decisions.length - destroyed.length
    knox.result(`${destroyed.length} snapshots destroyed at home, ${left} kept`, { destroyed, kept: left })
    return undefined
  },
})
