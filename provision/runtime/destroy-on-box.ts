import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Doomed } from './deletions.ts'
import type { Session } from './session.ts'

/** so many of the longest names fit into a line that the box takes, and into what it lets go on any day */
const MOST_NAMES = 16

/**
 * Destroys snapshots on the box. What the box refuses stays, and is told: a backup is proved with or without it.
 * Returns how many were destroyed; throws if the connection breaks.
 */
export const destroyOnBox = async (
  session: Session,
  doomed: readonly Doomed[],
  emit: Emit,
): Promise<number> => {
  const count = doomed.reduce((sum, { snapshots }) => sum + snapshots.length, 0)
  let destroyed = 0
  let most = MOST_NAMES
  for (const { dataset, snapshots } of doomed)
    for (let at = 0; at < snapshots.length;) {
      const names = snapshots.slice(at, at + most)
      try {
        await session.destroy(dataset, names)
        destroyed += names.length
      } catch (error) {
        if (!(error instanceof KnoxError)) throw error
        if (error.code === 'refused') {
          // it takes a line whole or not at all: a shorter one may be within what is left of its day
          most = Math.floor(names.length / 2)
          if (most > 0) continue
          emit({ type: 'note', text: `${messageOf(error)}; ${count - destroyed} are left to later runs` })
          return destroyed
        }
        if (error.code !== 'receive-failed') throw error
        const [hint] = error.hints
        emit({ type: 'warning', text: messageOf(error), ...(hint === undefined ? {} : { hint }) })
      }
      at += names.length
    }
  return destroyed
}
