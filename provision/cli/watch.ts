import { watchRun, type Watched } from '../alerts/alarm.ts'
import type { Command } from './command.ts'
import { meaningOf } from './meanings.ts'

/** The `watch` of a verb whose silence is an alarm: see docs/alerts.md. */
export const watchedAs =
  (verb: string, watched: Watched = 'backup'): NonNullable<Command['watch']> =>
  ({ configPath, interactive, emit }) => {
    const tell = watchRun({ verb, watched, configPath, interactive, emit })
    return (ended) => tell({ ...ended, meaning: meaningOf(ended.exit) })
  }
