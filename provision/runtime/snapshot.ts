import { KnoxError } from '../core/errors.ts'
import type { Config } from '../core/config.ts'
import type { Runner } from '../core/command.ts'
import { snapshotRecursively } from '../tools/zfs.ts'

/** UTC, ISO 8601 to the second: 2015-07-24T16:14:10Z. */
export const snapshotName = (now: Date): string => now.toISOString().replace(/\.[0-9]{3}Z$/, 'Z')

const MOST_IN_A_SECOND = 100

/**
 * Takes a snapshot of home's pool and all datasets below it at one instant; returns its name.
 * A name that is taken already (two runs in a second, a clock set back) gets a suffix: ...Z-2.
 */
export const takeSnapshot = async (config: Config, runner: Runner, now: Date): Promise<string> => {
  const base = snapshotName(now)
  for (let n = 1; n <= MOST_IN_A_SECOND; n += 1) {
    const name = n === 1 ? base : `${base}-${n}`
    try {
      await runner.act(snapshotRecursively(config.home.pool, name))
      return name
    } catch (error) {
      if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
    }
  }
  throw new KnoxError('busy', `there are ${MOST_IN_A_SECOND} snapshots named ${base} already`)
}
