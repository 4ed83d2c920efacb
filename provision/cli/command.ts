import { parseArgs, type ParseArgsConfig } from 'node:util'
import type { Config } from '../core/config.ts'
import { KnoxError, type ExitName } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Owner, Said } from '../core/owner.ts'
import type { Secret } from '../core/secret.ts'
import type { PassphraseOptions } from './prompts.ts'

export type OptionSpec = NonNullable<ParseArgsConfig['options']>[string] & {
  readonly help: string
  /** what stands for the value in the help, such as FILE */
  readonly value?: string
}

/** Flags that every verb takes. */
export const COMMON_OPTIONS = {
  config: {
    type: 'string',
    value: 'FILE',
    help: 'the knox.yaml to use (default: ./knox.yaml, then ~/.config/knox/knox.yaml)',
  },
  'dry-run': { type: 'boolean', help: 'show what would be done and change nothing' },
  yes: { type: 'boolean', help: 'answer every confirmation with yes' },
  json: { type: 'boolean', help: 'result as JSON on stdout, events as NDJSON on stderr' },
  verbose: { type: 'boolean', help: 'show every command that runs' },
  help: { type: 'boolean', short: 'h', help: 'show this help' },
} as const satisfies Record<string, OptionSpec>

export interface Values extends Said {
  /** every value of an option that may be said more than once (`multiple`), in order */
  readonly texts: (name: string) => readonly string[]
}

/** What a verb gets to work with. Only this touches the terminal. */
export interface Knox extends Owner {
  readonly args: Values
  readonly positionals: readonly string[]
  readonly dryRun: boolean
  readonly json: boolean
  /** what --config names */
  readonly configPath: string | undefined
  /** true if a person sits at the terminal and can be asked */
  readonly interactive: boolean
  /** reads and checks knox.yaml; throws `config` */
  readonly config: () => Promise<Config>
  readonly emit: Emit
  /** a result for stdout: text for people, or the value with --json */
  readonly result: (text: string, value: unknown) => void
  /** asks yes or no; --yes answers yes; throws `refused` where nobody can be asked */
  readonly confirm: (question: string) => Promise<void>
  /** asks to type one of these words, in any case; else as `confirm` */
  readonly confirmTyped: (question: string, words: readonly string[]) => Promise<void>
  /** aborts when the owner wants an end; what works without processes of its own must look at it */
  readonly signal: AbortSignal
  /** what is to be said, instead of the usual, if the owner ends the run from now on */
  readonly whenStopped: (hints: readonly string[]) => void
  /** a passphrase from --passphrase-file or the terminal; a new one is checked there while it is typed */
  readonly passphrase: (question: string, options?: PassphraseOptions) => Promise<Secret>
}

export interface Command {
  readonly name: string
  readonly summary: string
  /** positional arguments as the help shows them, such as `FILE` or `init|list` */
  readonly positionals?: string
  readonly options?: Readonly<Record<string, OptionSpec>>
  readonly details?: string
  /** the name of its exit code, or a number of a verb that has codes of its own; undefined is `ok` */
  readonly run: (knox: Knox) => Promise<ExitName | number | undefined>
  /** for a verb with exit codes of its own: its result and code for whatever was thrown, wrong words included */
  readonly failed?: (error: unknown) => Failure
  /** hears that a run begins, and by what it returns how it ended, whatever the end; must not throw */
  readonly watch?: (knox: Knox) => (ended: Ended) => Promise<void>
}

export interface Failure {
  readonly text: string
  readonly value: unknown
  readonly code: number
}

/** How a run ended. */
export interface Ended {
  readonly exit: ExitName
  /** what was thrown, if something was */
  readonly error: unknown
  /** the last value that the verb gave as its result */
  readonly result: unknown
}

/** Gives a verb its type; a verb is one file in scripts/ that exports one of these. */
export const defineCommand = (command: Command): Command => command

export interface Parsed {
  readonly values: Values
  readonly positionals: readonly string[]
}

/** Splits the words after the verb; throws `usage` for what the verb does not take. */
export const parseWords = (command: Command, words: readonly string[]): Parsed => {
  const options = { ...COMMON_OPTIONS, ...command.options }
  const known = Object.fromEntries(
    Object.entries(options).map(([name, option]: [string, OptionSpec]) => [
      name,
      {
        type: option.type,
        multiple: option.multiple === true,
        ...(option.short === undefined ? {} : { short: option.short }),
      },
    ]),
  )
  try {
    const { values, positionals } = parseArgs({ args: [...words], options: known, allowPositionals: true })
    if (command.positionals === undefined && positionals.length > 0)
      throw new Error(`Unexpected argument '${positionals.join(' ')}'`)
    return {
      positionals,
      values: {
        flag: (name) => values[name] === true,
        text: (name) => (typeof values[name] === 'string' ? values[name] : undefined),
        texts: (name) =>
          Array.isArray(values[name]) ? values[name].filter((value) => typeof value === 'string') : [],
      },
    }
  } catch (error) {
    const text = error instanceof Error ? (error.message.split('. ')[0] ?? '') : ''
    throw new KnoxError('usage', text.charAt(0).toLowerCase() + text.slice(1), [
      `see: knox ${command.name} --help`,
    ])
  }
}

const optionLine = ([name, option]: [string, OptionSpec]): string => {
  const flag = `--${name}${option.value === undefined ? '' : ` ${option.value}`}`
  return `  ${flag.padEnd(26)} ${option.help}`
}

/** The help text of one verb. */
export const helpOf = (command: Command): string =>
  [
    `knox ${command.name}${command.positionals === undefined ? '' : ` ${command.positionals}`} [options]`,
    '',
    command.summary,
    ...(command.details === undefined ? [] : ['', command.details]),
    '',
    ...Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(optionLine),
  ].join('\n')
