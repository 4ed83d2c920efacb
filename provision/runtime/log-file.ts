import { copyFile, rename, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'

/** knox.log, to which the line of the crontab appends what a daily run says. */

export const LOG = 'knox.log'
/** the one before; older ones are gone */
export const OLD_LOG = `${LOG}.1`

const LARGEST = 1024 * 1024

/**
 * Keeps the log from growing for ever: above a mebibyte it becomes knox.log.1, and begins anew. cron's shell has it open for
 * appending, so it is copied and emptied, not renamed.
 */
export const turnLog = async (folder: string, largest = LARGEST): Promise<void> => {
  const log = join(folder, LOG)
  const size = await stat(log).then(
    (found) => (found.isFile() ? found.size : 0),
    () => 0,
  )
  if (size <= largest) return
  const copy = join(folder, `.${OLD_LOG}.${process.pid}`)
  try {
    await copyFile(log, copy)
    await rename(copy, join(folder, OLD_LOG))
    await truncate(log)
  } finally {
    await rm(copy, { force: true })
  }
}
