import { defineCommand } from '../provision/cli/command.ts'
import { watchedAs } from '../provision/cli/watch.ts'
import { BACKUP_OPTIONS, sendToBox } from './backup.ts'
import { snapshotHome } from './snapshot.ts'

export const snapback = defineCommand({
  name: 'snapback',
  summary: 'snapshot, then backup: the line for cron',
  options: BACKUP_OPTIONS,
  watch: watchedAs('snapback'),
  run: async (knox) => {
    await snapshotHome(knox)
    return sendToBox(knox)
  },
})
