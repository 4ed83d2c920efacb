import { KnoxError, exitCodeOf, EXIT_CODES, messageOf } from '../core/errors.ts'
import { loadConfig } from '../system/config-file.ts'
import { helpOf, parseWords, type Command, type Knox } from './command.ts'
import { askConfirm, askPassphrase, readPassphraseFile } from './prompts.ts'
import { reporterFor, type Reporter } from './reporter.ts'

/** What main needs of the process; tests give their own. */
export interface Terminal {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  /** stdin and stderr are terminals that can move a cursor */
  readonly interactive: boolean
}

export const processTerminal: Terminal = {
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  interactive: process.stdin.isTTY && process.stderr.isTTY && process.env['TERM'] !== 'dumb',
}

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

const contextOf = (
  command: Command,
  words: readonly string[],
  terminal: Terminal,
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
  terminal.stderr(`knox: error: ${messageOf(error)}\n`)
  for (const hint of known ? error.hints : ['this is a bug in knox; please report it with the lines below'])
    terminal.stderr(`knox: hint: ${hint}\n`)
  const withStack = !known || process.env['KNOX_DEBUG'] === '1'
  if (withStack && error instanceof Error) terminal.stderr(`${error.stack ?? ''}\n`)
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
    const context = contextOf(command, rest, terminal)
    reporter = context.reporter
    return EXIT_CODES[(await command.run(context.knox)) ?? 'ok']
  } catch (error) {
    reporter?.pause()
    reportError(error, rest.includes('--json'), terminal)
    return exitCodeOf(error)
  }
}
