import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { messageOf } from '../provision/core/errors.ts'
import { turnLog } from '../provision/runtime/log-file.ts'
import { homeFolder } from '../provision/system/config-file.ts'
import { BACKUP_OPTIONS, sendToBox } from './backup.ts'
import { snapshotHome } from './snapshot.ts'

/** A log that cannot be turned stops no backup. */
const turn = async (knox: Knox): Promise<void> => {
  const folder = homeFolder(await knox.config())
  await turnLog(folder).catch((error: unknown) =>
    knox.emit({ type: 'warning', text: `the log in ${folder} grows: ${messageOf(error)}` }),
  )
}

export const snapback = defineCommand({
  name: 'snapback',
  summary: 'snapshot, then backup: the line for cron',
  options: BACKUP_OPTIONS,
  watch: watchedAs('snapback'),
  run: async (knox) => {
    if (!knox.dryRun) await turn(knox)
    await snapshotHome(knox)
    return sendToBox(knox)
  },
})
