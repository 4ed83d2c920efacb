import type { Change } from '../core/command.ts'
import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { hold, release } from '../tools/zfs-hold.ts'
import type { Dataset, Snapshot } from '../tools/zfs.ts'
import type { Goal, Send } from './plan.ts'

/** Which of home's snapshots nobody may destroy, since the box needs them to go on from. */

/** The hold of a box on home's snapshots. */
export const tagOf = (config: Config): string => `knox:${config.box.name}`

interface Kept {
  /** dataset@snapshot */
  readonly name: string
  readonly dataset: string
  readonly snapshot: Snapshot
}

const snapshotsOf = (home: readonly Dataset[], datasets: ReadonlySet<string>): readonly Kept[] =>
  home.flatMap(({ name: dataset, snapshots }) =>
    datasets.has(dataset)
      ? snapshots.map((snapshot) => ({ name: `${dataset}@${snapshot.name}`, dataset, snapshot }))
      : [],
  )

const namesOf = (some: readonly Kept[]): readonly string[] => some.map(({ name }) => name)

/** for each hold zfs waits for the disk: side by side they share that */
const AT_ONCE = 8

/**
 * Does what is not done yet, one stage after the other; false after a warning if zfs does not let this user, since the backup itself is
 * good without.
 */
const change = async (stages: readonly (readonly Change[])[], emit: Emit): Promise<boolean> => {
  const runner = runnerAt(HERE, emit)
  const act = async (one: Change): Promise<void> => {
    try {
      await runner.act(one)
    } catch (error) {
      if (!(error instanceof KnoxError) || error.code !== 'busy') throw error
    }
  }
  try {
    for (const changes of stages)
      for (let i = 0; i < changes.length; i += AT_ONCE)
        await Promise.all(changes.slice(i, i + AT_ONCE).map(act))
    return true
  } catch (error) {
    const [hint] = error instanceof KnoxError ? error.hints : []
    emit({
      type: 'warning',
      text: `what the box goes on from is not held at home: ${messageOf(error)}`,
      ...(hint === undefined ? {} : { hint }),
    })
    return false
  }
}

/**
 * Before anything is sent: the snapshots that the streams begin with and all that they carry are held at home. They arrive one by one, so
 * that wherever the run is cut off the box's newest is among them, and no other program can break the chain. What earlier
 * runs that were cut off have held of these datasets goes. Returns `home` as it is then, undefined if zfs did not let this user.
 */
export const holdForSends = async (
  config: Config,
  home: readonly Dataset[],
  sends: readonly Send[],
  emit: Emit,
): Promise<readonly Dataset[] | undefined> => {
  const tag = tagOf(config)
  const byName = new Map(home.map(({ name, snapshots }) => [name, snapshots]))
  const needed = new Set(
    sends.flatMap(({ range: { dataset, from, to } }) => {
      const names = (byName.get(dataset) ?? []).map(({ name }) => name)
      const last = names.indexOf(to)
      const first = from === undefined ? last : names.indexOf(from)
      return names.slice(first, last + 1).map((name) => `${dataset}@${name}`)
    }),
  )
  const all = snapshotsOf(home, new Set(sends.map(({ range }) => range.dataset)))
  const older = all.filter(({ name, snapshot }) => snapshot.held && !needed.has(name))
  if (!(await change([hold(tag, [...needed]), release(tag, namesOf(older))], emit))) return undefined
  return home.map((dataset) => ({
    ...dataset,
    snapshots: dataset.snapshots.map((one) =>
      needed.has(`${dataset.name}@${one.name}`) ? { ...one, held: true as const } : one,
    ),
  }))
}

/**
 * After a proof: of each dataset only the newest snapshot that both sides have stays held. First the new holds, then the older ones
 * go: a crash in between leaves one too many, which goes next time. `home` as it was when the run began to send, `sent` names the
 * datasets of which it sent something. What is held already may be held for another box, so that it gets this box's hold too.
 */
export const holdAtHome = async (
  config: Config,
  home: readonly Dataset[],
  goals: readonly Goal[],
  sent: ReadonlySet<string>,
  emit: Emit,
): Promise<void> => {
  const tag = tagOf(config)
  const newest = new Map(goals.map((goal) => [goal.home, goal.newest.guid]))
  const all = snapshotsOf(home, new Set(newest.keys()))
  const isNewest = ({ dataset, snapshot }: Kept) => newest.get(dataset) === snapshot.guid
  const unheld = all.filter((one) => isNewest(one) && !one.snapshot.held)
  const heldBySomeone = all.filter((one) => isNewest(one) && one.snapshot.held && sent.has(one.dataset))
  const older = all.filter((one) => !isNewest(one) && one.snapshot.held)
  if (unheld.length + heldBySomeone.length === 0) return
  await change([hold(tag, namesOf([...unheld, ...heldBySomeone])), release(tag, namesOf(older))], emit)
}
