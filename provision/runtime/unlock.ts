import { join } from 'node:path'
import type { Emit } from '../core/events.ts'
import { KEY_FILES } from '../core/keys.ts'
import { readSecretFile } from '../system/files.ts'
import { run } from '../system/process.ts'
import { sshArgv } from '../tools/ssh.ts'
import type { Connection } from './target.ts'
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
