import { EXIT_CODES } from '../core/errors.ts'
import { isTidying } from '../system/process.ts'

/** What main needs of the process; tests give their own. */
export interface Terminal {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  /** stdin and stderr are terminals that can move a cursor */
  readonly interactive: boolean
  /** calls back when the owner wants an end: Ctrl-C, kill, a closed terminal; returns what takes that back */
  readonly onStop: (stop: () => void) => () => void
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** milliseconds after which a run that was told to stop, and has not, is ended anyway */
const LAST_RESORT = 10_000

const onStop: Terminal['onStop'] = (stop) => {
  let told = false
  const hear = () => {
    // whoever asks twice does not want to wait
    if (told) process.exit(EXIT_CODES.interrupted)
    told = true
    const exit = () => {
      // what takes down mounts and the like is bounded by the time limits of its own commands
      if (isTidying()) setTimeout(exit, 1000).unref()
      else process.exit(EXIT_CODES.interrupted)
    }
    setTimeout(exit, LAST_RESORT).unref()
    stop()
  }
  for (const signal of STOP_SIGNALS) process.on(signal, hear)
  return () => {
    // once told it stays deaf, so that the end of the run is not cut short
    if (!told) for (const signal of STOP_SIGNALS) process.off(signal, hear)
  }
}

/** A log that is full, or a terminal that was closed, does not end a backup. */
const deafTo = (stream: NodeJS.WriteStream) => {
  stream.on('error', () => undefined)
  return (text: string) => void stream.write(text)
}

export const processTerminal = (): Terminal => ({
  stdout: deafTo(process.stdout),
  stderr: deafTo(process.stderr),
  interactive: process.stdin.isTTY && process.stderr.isTTY && process.env['TERM'] !== 'dumb',
  onStop,
})
