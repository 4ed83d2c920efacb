import { readFile } from 'node:fs/promises'
import { KnoxError, exitCodeOf, EXIT_CODES, messageOf } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import { stopProcesses } from '../system/process.ts'
import { helpOf, parseWords, type Command, type Ended, type Failure, type Knox } from './command.ts'
import { knoxFor, type Ending } from './knox.ts'
import { exitCodeTable } from './meanings.ts'
import { reporterFor, type Reporter } from './reporter.ts'
import type { Terminal } from './terminal.ts'

const overview = (commands: readonly Command[]): string =>
  [
    'knox: an encrypted copy of your ZFS pool in somebody else’s house',
    '',
    'knox <verb> [options]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(14)} ${summary}`),
    '',
    'knox <verb> --help shows a verb’s options, knox --version which knox this is. Exit codes:',
    '',
    exitCodeTable(),
  ].join('\n')

const versionOf = async (): Promise<string> => {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
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

/**
 * Runs `knox <words>`; returns the exit code. Never throws. `find` gives the verbs that a verb runs, where `commands` holds
 * only the one that was typed.
 */
export const main = async (
  commands: readonly Command[],
  words: readonly string[],
  terminal: Terminal,
  find = (name: string) => Promise.resolve(commands.find((command) => command.name === name)),
): Promise<number> => {
  const [verb, ...rest] = words
  let reporter: Reporter | undefined
  let tell: ((ended: Ended) => Promise<void>) | undefined
  let failed: ((error: unknown) => Failure) | undefined
  let result: unknown
  try {
    if (verb === undefined || verb === '--help' || verb === '-h' || verb === 'help') {
      terminal.stdout(`${overview(commands)}\n`)
      return EXIT_CODES[verb === undefined ? 'usage' : 'ok']
    }
    if (verb === '--version') {
      terminal.stdout(`knox ${await versionOf()}, node ${process.versions.node}\n`)
      return EXIT_CODES.ok
    }
    const command = commands.find(({ name }) => name === verb)
    if (command === undefined)
      throw new KnoxError('usage', `there is no verb ${JSON.stringify(verb)}`, ['see: knox --help'])
    if (rest.some((word) => word === '--help' || word === '-h')) {
      terminal.stdout(`${helpOf(command)}\n`)
      return EXIT_CODES.ok
    }
    failed = command.failed
    const ending = { asked: new AbortController(), hints: [STOPPED_HINT] }
    const { values } = parseWords(command, rest)
    reporter = await reporterFor(
      { json: values.flag('json'), verbose: values.flag('verbose'), terminal: terminal.interactive },
      terminal.stderr,
    )
    const plain = knoxFor(command, rest, { terminal, reporter, ending, find, passphrases: new Map() })
    const knox: Knox = {
      ...plain,
      result: (text, value) => {
        result = value
        plain.result(text, value)
      },
    }
    tell = knox.dryRun ? undefined : command.watch?.(knox)
    const ended = await runUntilStopped(terminal, ending, () => command.run(knox))
    if (typeof ended === 'number') return ended
    await tell?.({ exit: ended ?? 'ok', error: undefined, result })
    return EXIT_CODES[ended ?? 'ok']
  } catch (error) {
    reporter?.pause()
    const own = failed?.(error)
    const json = rest.includes('--json')
    if (own === undefined || !(error instanceof KnoxError)) reportError(error, json, terminal)
    if (own !== undefined) terminal.stdout(`${json ? JSON.stringify(own.value) : own.text}\n`)
    await tell?.({ exit: error instanceof KnoxError ? error.code : 'failed', error, result })
    return own?.code ?? exitCodeOf(error)
  }
}
