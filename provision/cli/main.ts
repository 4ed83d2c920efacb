import { KnoxError, exitCodeOf, EXIT_CODES, messageOf } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import { loadConfig } from '../system/config-file.ts'
import { stopProcesses } from '../system/process.ts'
import { helpOf, parseWords, type Command, type Knox } from './command.ts'
import { askConfirm, askPassphrase, askText, readPassphraseFile } from './prompts.ts'
import { reporterFor, type Reporter } from './reporter.ts'

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
    setTimeout(() => process.exit(EXIT_CODES.interrupted), LAST_RESORT).unref()
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

const MEANINGS: Record<keyof typeof EXIT_CODES, string> = {
  ok: 'done, and proved where there is something to prove',
  failed: 'a command failed in a way knox does not know, or a bug in knox',
  usage: 'the command line is wrong',
  config: 'knox.yaml or a file it needs is missing or wrong',
  refused: 'needs a confirmation (--yes, --force) that was not given',
  partial: 'some datasets arrived, others did not',
  unreachable: 'the box does not answer at any of its addresses',
  busy: 'another run, here or on the box, is under way',
  'key-rejected': 'the disk key, a certificate or a passphrase is not accepted',
  diverged: 'no common snapshot, or home and box have gone different ways',
  verification: 'what the box lists is not what was sent',
  platform: 'a program or platform that is needed is missing',
  'send-failed': 'zfs send failed at home',
  'receive-failed': 'zfs receive failed on the box',
  'no-space': 'the box has no room for it',
  'connection-lost': 'the connection to the box broke',
  'left-unlocked': 'the box could not lock its disk: look at it now',
  disk: 'the box’s disk is missing or does not answer, or its pool cannot be imported',
  interrupted: 'stopped by the owner',
}

/** The exit code table, as `--help` prints it. */
export const exitCodeTable = (): string =>
  Object.entries(EXIT_CODES)
    .map(([name, code]) => `  ${code.toString().padStart(3)}  ${MEANINGS[name as keyof typeof MEANINGS]}`)
    .join('\n')

const overview = (commands: readonly Command[]): string =>
  [
    'knox: an encrypted copy of your ZFS pool in somebody else’s house',
    '',
    'knox <verb> [options]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`),
    '',
    'knox <verb> --help shows a verb’s options. Exit codes:',
    '',
    exitCodeTable(),
  ].join('\n')

/** The owner's wish for an end, and what to say then. */
interface Ending {
  readonly asked: AbortController
  hints: readonly string[]
}

const contextOf = (
  command: Command,
  words: readonly string[],
  terminal: Terminal,
  ending: Ending,
): { knox: Knox; reporter: Reporter } => {
  const { values, positionals } = parseWords(command, words)
  const json = values.flag('json')
  const reporter = reporterFor(
    { json, verbose: values.flag('verbose'), terminal: terminal.interactive },
    terminal.stderr,
  )
  const nobody = (question: string) =>
    new KnoxError('refused', `nobody is at a terminal to answer: ${question}`, ['--yes confirms'])
  const knox: Knox = {
    args: values,
    positionals,
    dryRun: values.flag('dry-run'),
    json,
    interactive: terminal.interactive,
    config: () => loadConfig(values.text('config')),
    emit: reporter.emit,
    result: (text, value) => terminal.stdout(json ? `${JSON.stringify(value)}\n` : `${text}\n`),
    confirm: async (question) => {
      if (values.flag('yes')) return
      if (!terminal.interactive) throw nobody(question)
      reporter.pause()
      if (!(await askConfirm(question))) throw new KnoxError('refused', 'not confirmed, nothing was changed')
    },
    confirmTyped: async (question, accepted) => {
      if (values.flag('yes')) return
      if (!terminal.interactive) throw nobody(question)
      reporter.pause()
      const typed = (await askText(question)).trim().toLowerCase()
      if (!accepted.some((word) => word.toLowerCase() === typed))
        throw new KnoxError('refused', 'not confirmed, nothing was changed')
    },
    signal: ending.asked.signal,
    whenStopped: (hints) => {
      ending.hints = hints
    },
    passphrase: async (question, options) => {
      const file = values.text('passphrase-file')
      if (file !== undefined) return readPassphraseFile(file)
      if (!terminal.interactive)
        throw new KnoxError('refused', `nobody is at a terminal to answer: ${question}`, [
          '--passphrase-file FILE gives the passphrase',
        ])
      reporter.pause()
      return askPassphrase(question, options?.twice ?? false)
    },
  }
  return { knox, reporter }
}

const reportError = (error: unknown, json: boolean, terminal: Terminal) => {
  const known = error instanceof KnoxError
  if (json) {
    const detail = {
      code: known ? error.code : 'failed',
      message: messageOf(error),
      hints: known ? error.hints : [],
    }
    terminal.stderr(`${JSON.stringify({ type: 'error', ...detail })}\n`)
    return
  }
  terminal.stderr(`knox: error: ${printable(messageOf(error))}\n`)
  for (const hint of known ? error.hints : ['this is a bug in knox; please report it with the lines below'])
    terminal.stderr(`knox: hint: ${printable(hint)}\n`)
  const withStack = !known || process.env['KNOX_DEBUG'] === '1'
  if (withStack && error instanceof Error)
    terminal.stderr(`${(error.stack ?? '').split('\n').map(printable).join('\n')}\n`)
}

/** milliseconds for the work to let go of its locks and temporary files, once its processes are gone */
const TIDY_TIME = 2000

const STOPPED_HINT = 'the box locks its disk by itself when the connection ends'

/** Runs a verb until it is done, or the owner wants an end: then all that it started is ended first. */
const runUntilStopped = async <T>(terminal: Terminal, ending: Ending, work: () => Promise<T>): Promise<T> => {
  const { asked } = ending
  const done = new AbortController()
  const stoppedError = () => new KnoxError('interrupted', 'stopped', ending.hints)
  let timer: NodeJS.Timeout | undefined
  const end = new Promise<never>((_resolve, reject) => {
    const giveUp = () => {
      if (!done.signal.aborted) timer = setTimeout(() => reject(stoppedError()), TIDY_TIME)
    }
    asked.signal.addEventListener('abort', () => void stopProcesses().then(giveUp))
  })
  const forget = terminal.onStop(() => asked.abort())
  try {
    return await Promise.race([work(), end])
  } catch (error) {
    const isWorse = error instanceof KnoxError && error.code === 'left-unlocked'
    throw asked.signal.aborted && !isWorse ? stoppedError() : error
  } finally {
    done.abort()
    clearTimeout(timer)
    forget()
  }
}

/** Runs `knox <words>`; returns the exit code. Never throws. */
export const main = async (
  commands: readonly Command[],
  words: readonly string[],
  terminal: Terminal,
): Promise<number> => {
  const [verb, ...rest] = words
  let reporter: Reporter | undefined
  try {
    if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
      terminal.stdout(`${overview(commands)}\n`)
      return EXIT_CODES[verb === undefined ? 'usage' : 'ok']
    }
    const command = commands.find(({ name }) => name === verb)
    if (command === undefined)
      throw new KnoxError('usage', `there is no verb ${JSON.stringify(verb)}`, ['see: knox --help'])
    if (rest.some((word) => word === '--help' || word === '-h')) {
      terminal.stdout(`${helpOf(command)}\n`)
      return EXIT_CODES.ok
    }
    const ending = { asked: new AbortController(), hints: [STOPPED_HINT] }
    const context = contextOf(command, rest, terminal, ending)
    reporter = context.reporter
    const ended = await runUntilStopped(terminal, ending, () => command.run(context.knox))
    return EXIT_CODES[ended ?? 'ok']
  } catch (error) {
    reporter?.pause()
    reportError(error, rest.includes('--json'), terminal)
    return exitCodeOf(error)
  }
}
