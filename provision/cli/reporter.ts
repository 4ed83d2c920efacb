import ora, { type Ora } from 'ora'
import type { Emit, Event } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { quoteAll } from '../core/quote.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'

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

type Progress = Extract<Event, { type: 'progress' }>

/** seconds; what a first kilobyte foretells beyond that is worth nothing */
const LONGEST = 1000 * 86_400

/** One line of progress: what, how much, how fast, how long yet. */
export const progressLine = (event: Progress): string => {
  const rate = event.seconds > 0 ? event.totalBytes / event.seconds : 0
  const of = event.totalOf === undefined ? '' : ` of ${formatBytes(event.totalOf)}`
  const left = event.totalOf !== undefined && rate > 0 ? (event.totalOf - event.totalBytes) / rate : undefined
  const time = left === undefined || left <= 0 || left > LONGEST ? '' : `, ${formatDuration(left)} left`
  return `${event.dataset}: ${formatBytes(event.totalBytes)}${of}, ${formatBytes(rate)}/s${time}`
}

const lineOf = (event: Event, verbose: boolean): string | undefined => {
  switch (event.type) {
    case 'step':
      return `${printable(event.title)} ...`
    case 'done':
      return printable(event.title)
    case 'note':
      return printable(event.text)
    case 'warning': {
      const hint = event.hint === undefined ? '' : `\nknox: hint: ${printable(event.hint)}`
      return `knox: warning: ${printable(event.text)}${hint}`
    }
    case 'command':
      return verbose ? printable(`${event.where}$ ${quoteAll(event.argv)}`) : undefined
    case 'progress':
      return printable(progressLine(event))
  }
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

/** https://no-color.org; ora alone does not hear it */
const color = (process.env['NO_COLOR'] ?? '') === '' ? 'cyan' : false

// discardStdin would put the terminal into raw mode, where Ctrl-C is no signal any more
const spin = (text: string): Ora => ora({ text, color, stream: process.stderr, discardStdin: false }).start()

const animated = (style: Style, write: (text: string) => void): Reporter => {
  let spinner: Ora | undefined
  let title = ''
  const pause = () => {
    spinner?.stop()
    spinner = undefined
  }
  const emit: Emit = (event) => {
    if (event.type === 'step') {
      pause()
      title = printable(event.title)
      spinner = spin(title)
    } else if (event.type === 'progress') {
      if (spinner === undefined) spinner = spin(title)
      spinner.text = printable(progressLine(event))
    } else if (event.type === 'done') {
      const line = printable(event.title)
      if (spinner === undefined) spin(line).succeed(line)
      else spinner.succeed(line)
      spinner = undefined
    } else {
      const line = lineOf(event, style.verbose)
      if (line === undefined) return
      const moving = spinner !== undefined
      pause()
      write(`${line}\n`)
      if (moving) spinner = spin(title)
    }
  }
  return { emit, pause }
}

/** Turns events into what the owner sees on stderr: ora on a terminal, plain lines elsewhere, NDJSON with --json. */
export const reporterFor = (style: Style, write: (text: string) => void): Reporter => {
  if (style.json) return { pause: () => undefined, emit: (event) => write(`${JSON.stringify(event)}\n`) }
  // a terminal that does not know its width, such as a serial console, would be flooded
  const isWide = process.stderr.columns >= NARROWEST
  return style.terminal && isWide ? animated(style, write) : plain(style, write)
}
