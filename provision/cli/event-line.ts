import type { Event } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { quoteAll } from '../core/quote.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'

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

/** An event as a line, or undefined if it is not shown. */
export const lineOf = (event: Event, verbose: boolean): string | undefined => {
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
