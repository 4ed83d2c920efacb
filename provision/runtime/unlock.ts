import { join } from 'node:path'
import type { Runner } from '../core/command.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { readSecretFile } from '../system/files.ts'
import { run } from '../system/process.ts'
import type { Place } from '../system/runner.ts'
import { sshArgv } from '../tools/ssh.ts'
import type { BoxInventory } from './session.ts'
import { withShell } from './shell.ts'
import { staying } from './staying.ts'
import { connect, type Box, type Connection } from './target.ts'
import { finishDisk } from './unfinished-disk.ts'

/** Unlocks the disk: the key goes from its file to the box over a connection of its own. */
export const unlock = async ({ session, target }: Connection, emit: Emit): Promise<void> => {
  emit({ type: 'step', title: 'unlocking the disk' })
  const key = await readSecretFile(join(target.folder, KEY_FILES.disk), 'disk key')
  await session.unlock(() => run(sshArgv(target, 'knox-fifo'), { stdin: key, timeout: 120 }))
  // it opened and its pool was imported: from now on it may hold a backup
  await finishDisk(target.folder)
  emit({ type: 'done', title: 'the disk is unlocked' })
}

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
