import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { KnoxError, messageOf } from '../provision/core/errors.ts'
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

/** Takes the snapshot; resolves with the error where zfs refused it, such as for want of room in one dataset. */
const refusalOf = async (knox: Knox): Promise<KnoxError | undefined> => {
  try {
    await snapshotHome(knox)
    return undefined
  } catch (error) {
    if (error instanceof KnoxError && error.code === 'failed' && !knox.signal.aborted) return error
    throw error
  }
}

/** Exit: that of backup; 1 where zfs refused the snapshot and all else arrived. */
export const snapback = defineCommand({
  name: 'snapback',
  summary: 'snapshot, then backup: the line for cron',
  options: BACKUP_OPTIONS,
  watch: watchedAs('snapback'),
  run: async (knox) => {
    if (!knox.dryRun) await turn(knox)
    const refusal = await refusalOf(knox)
    if (refusal !== undefined)
      knox.emit({
        type: 'warning',
        text: `${refusal.message}; what was taken before is sent all the same`,
        hint: refusal.hints.join('; '),
      })
    const ended = await sendToBox(knox)
    if (refusal !== undefined) throw refusal
    return ended
  },
})
