import { KnoxError } from '../core/errors.ts'
import type { Config } from '../core/config.ts'
import type { Change, Runner } from '../core/command.ts'
import { quoteAll } from '../core/quote.ts'
import { LONGEST_COMMAND } from '../system/process.ts'
import { listNames, snapshotRecursively, snapshotSome } from '../tools/zfs.ts'
import { isBelow } from './plan-box.ts'

/** UTC, ISO 8601 to the second: 2015-07-24T16:14:10Z. */
export const snapshotName = (now: Date): string => now.toISOString().replace(/\.[0-9]{3}Z$/, 'Z')

const MOST_IN_A_SECOND = 100

/** One command is one instant, so that it cannot be cut in two; and `-r`, which is short, knows no exceptions. */
const refuseIfTooLong = (change: Change, datasets: number): Change => {
  if (Buffer.byteLength(quoteAll(change.argv)) <= LONGEST_COMMAND) return change
  throw new KnoxError(
    'config',
    `${datasets} datasets are too many for one zfs snapshot that names each of them`,
    [
      'without home.exclude one short command takes them all: exclude nothing, and move what is not to be sent to another pool',
    ],
  )
}

/** What is excluded gets none: nothing would ever thin them there. */
const snapshotOf = async (
  { home }: Config,
  runner: Runner,
  restoring: readonly string[],
): Promise<((name: string) => Change) | undefined> => {
  const { pool } = home
  const exclude = [...home.exclude, ...restoring]
  if (exclude.length === 0) return (name) => snapshotRecursively(pool, name)
  const names = await runner.read(listNames(pool))
  const datasets = names.filter((name) => !exclude.some((out) => isBelow(name, out)))
  if (datasets.length === 0) return undefined
  return (name) => refuseIfTooLong(snapshotSome(datasets, name), datasets.length)
}

/**
 * Takes a snapshot of home's pool and all datasets below it that are not excluded nor below one of `restoring`, at one
 * instant; returns its name, or undefined if none is left to take one of.
 * A name that is taken already (two runs in a second, a clock set back) gets a suffix: ...Z-2.
 * Throws `config` where home.exclude makes the command too long (execve(2)).
 */
export const takeSnapshot = async (
  config: Config,
  runner: Runner,
  now: Date,
  restoring: readonly string[] = [],
): Promise<string | undefined> => {
  const base = snapshotName(now)
  const snapshot = await snapshotOf(config, runner, restoring)
  if (snapshot === undefined) return undefined
  for (let n = 1; n <= MOST_IN_A_SECOND; n += 1) {
    const name = n === 1 ? base : `${base}-${n}`
    try {
      await runner.act(snapshot(name))
      return name
    } catch (error) {
      if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
    }
  }
  throw new KnoxError('busy', `there are ${MOST_IN_A_SECOND} snapshots named ${base} already`)
}
