import type { Emit } from '../core/events.ts'
import { lineOf } from './event-line.ts'

export interface Reporter {
  readonly emit: Emit
  /** stops whatever moves on the terminal, so that others may write to it */
  readonly pause: () => void
}

interface Style {
  readonly json: boolean
  readonly verbose: boolean
  readonly terminal: boolean
}

const PLAIN_PROGRESS_SECONDS = 30

/** Plain lines, for logs, pipes and dumb terminals: progress now and then only. */
const plain = (style: Style, write: (text: string) => void): Reporter => {
  let shown = 0
  let step = ''
  return {
    pause: () => undefined,
    emit: (event) => {
      if (event.type === 'step') step = event.title
      // a log need not say twice what was done
      if (event.type === 'done' && event.title === step) return
      if (event.type === 'progress') {
        if (event.seconds - shown < PLAIN_PROGRESS_SECONDS) return
        shown = event.seconds
      }
      const line = lineOf(event, style.verbose)
      if (line !== undefined) write(`${line}\n`)
    },
  }
}

const NARROWEST = 20

/** Turns events into what the owner sees on stderr: ora on a terminal, plain lines elsewhere, NDJSON with --json. */
export const reporterFor = async (style: Style, write: (text: string) => void): Promise<Reporter> => {
  if (style.json) return { pause: () => undefined, emit: (event) => write(`${JSON.stringify(event)}\n`) }
  // a terminal that does not know its width, such as a serial console, would be flooded
  const isWide = process.stderr.columns >= NARROWEST
  if (!style.terminal || !isWide) return plain(style, write)
  // what ora knows of emojis takes longer to load than all of knox, and a log has no use for it
  const { animated } = await import('./spinner.ts')
  return animated(style.verbose, write)
}
