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

const leftOut = (targets: readonly string[]): KnoxError =>
  new KnoxError('partial', `being restored, and therefore not backed up: ${targets.join(', ')}`, [
    'finish the restore by running it again; if it is not wanted any more, knox snapshot says which file to remove',
  ])

/**
 * Takes the snapshot; resolves with what is still to be told when all else has been sent: what was left out, or that zfs refused it,
 * such as for want of room in one dataset.
 */
const snapshotOrWhyNot = async (knox: Knox): Promise<KnoxError | undefined> => {
  try {
    const targets = await snapshotHome(knox)
    return targets.length === 0 || knox.dryRun ? undefined : leftOut(targets)
  } catch (error) {
    if (error instanceof KnoxError && error.code === 'failed' && !knox.signal.aborted) return error
    throw error
  }
}

/** Exit: that of backup; where all else arrived 1 if zfs refused the snapshot, 5 if a dataset that is being restored got none. */
export const snapback = defineCommand({
  name: 'snapback',
  summary: 'snapshot, then backup: the line for cron',
  options: BACKUP_OPTIONS,
  watch: watchedAs('snapback'),
  run: async (knox) => {
    if (!knox.dryRun) await turn(knox)
    const lack = await snapshotOrWhyNot(knox)
    if (lack?.code === 'failed')
      knox.emit({
        type: 'warning',
        text: `${lack.message}; what was taken before is sent all the same`,
        hint: lack.hints.join('; '),
      })
    const ended = await sendToBox(knox)
    if (lack !== undefined && (lack.code === 'failed' || ended === undefined)) throw lack
    return ended
  },
})
