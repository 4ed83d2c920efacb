import type { Runner } from '../core/command.ts'
import type { Emit } from '../core/events.ts'
import type { Secret } from '../core/secret.ts'
import type { Place } from '../system/runner.ts'
import type { BoxInventory } from './session.ts'
import { withShell } from './shell.ts'
import { staying } from './staying.ts'
import { connect, type Box } from './target.ts'
import { unlock } from './unlock.ts'

/** What work finds while the box is open. */
export interface OpenBox {
  readonly inventory: BoxInventory
  /** a root shell on the box */
  readonly runner: Runner
  readonly place: Place
}

/**
 * Runs work with the box's disk unlocked and a root shell there. A session holds it open, so that the box locks itself whatever
 * happens to home; returns only when the box has said that it is locked. Throws `key-rejected` for a wrong passphrase.
 */
export const withOpenBox = <T>(
  box: Box,
  passphrase: Secret,
  emit: Emit,
  work: (open: OpenBox) => Promise<T>,
): Promise<T> =>
  withShell(box, passphrase, emit, async (runner, place) => {
    const connection = await connect(box, emit)
    const { session } = connection
    try {
      await unlock(connection, emit)
      const inventory = await session.list()
      const result = await staying(session, () => work({ inventory, runner, place }))
      emit({ type: 'step', title: 'locking the disk' })
      await session.bye()
      emit({ type: 'done', title: 'the box has locked its disk' })
      return result
    } catch (error) {
      throw await session.abandon(error)
    }
  })
