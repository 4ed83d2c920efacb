import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Doomed } from './deletions.ts'
import type { Session } from './session.ts'

const MOST_NAMES = 40
/** bytes, well below the longest line that the box takes */
const LONGEST = 3000

/** The names in groups that fit into a line each. */
const lines = (names: readonly string[]): readonly (readonly string[])[] => {
  const groups: string[][] = []
  let bytes = LONGEST
  for (const name of names) {
    if (bytes + name.length >= LONGEST || groups.at(-1)?.length === MOST_NAMES) {
      groups.push([])
      bytes = 0
    }
    groups.at(-1)?.push(name)
    bytes += name.length + 1
  }
  return groups
}

/**
 * Destroys snapshots on the box. What the box refuses stays, and is told: a backup is proved with or without it.
 * Returns how many were destroyed; throws if the connection breaks.
 */
export const destroyOnBox = async (
  session: Session,
  doomed: readonly Doomed[],
  emit: Emit,
): Promise<number> => {
  let destroyed = 0
  for (const { dataset, snapshots } of doomed)
    for (const names of lines(snapshots)) {
      try {
        await session.destroy(dataset, names)
        destroyed += names.length
      } catch (error) {
        if (!(error instanceof KnoxError)) throw error
        if (error.code === 'refused') {
          emit({ type: 'note', text: messageOf(error) })
          return destroyed
        }
        if (error.code !== 'receive-failed') throw error
        const [hint] = error.hints
        emit({ type: 'warning', text: messageOf(error), ...(hint === undefined ? {} : { hint }) })
      }
    }
  return destroyed
}
