import ora, { type Ora } from 'ora'
import type { Emit } from '../core/events.ts'
import { printable } from '../core/names.ts'
import { lineOf, progressLine } from './event-line.ts'

/** https://no-color.org; ora alone does not hear it */
const color = (process.env['NO_COLOR'] ?? '') === '' ? 'cyan' : false

// discardStdin would put the terminal into raw mode, where Ctrl-C is no signal any more
const spin = (text: string): Ora => ora({ text, color, stream: process.stderr, discardStdin: false }).start()

/** Ora's spinner for the step that runs, a line for each that is done. */
export const animated = (verbose: boolean, write: (text: string) => void) => {
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
      const line = lineOf(event, verbose)
      if (line === undefined) return
      const moving = spinner !== undefined
      pause()
      write(`${line}\n`)
      if (moving) spinner = spin(title)
    }
  }
  return { emit, pause }
}
