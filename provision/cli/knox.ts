import { KnoxError } from '../core/errors.ts'
import type { Question } from '../core/owner.ts'
import type { Secret } from '../core/secret.ts'
import { loadConfig } from '../system/config-file.ts'
import { parseWords, type Command, type Knox, type Values } from './command.ts'
import { askChoice, askConfirm, askPassphrase, askText, readPassphraseFile } from './prompts.ts'
import type { Reporter } from './reporter.ts'
import type { Terminal } from './terminal.ts'

/** The owner's wish for an end, and what to say then. */
export interface Ending {
  readonly asked: AbortController
  hints: readonly string[]
}

/** What all verbs of one run share. */
export interface Run {
  readonly terminal: Terminal
  readonly reporter: Reporter
  readonly ending: Ending
  /** a verb by its name */
  readonly find: (name: string) => Promise<Command | undefined>
  /** passphrases typed in this run, by what they are of: nobody types one twice */
  readonly passphrases: Map<string, Secret>
}

const nobody = (question: string, answer: string) =>
  new KnoxError('refused', `nobody is at a terminal to answer: ${question}`, [answer])

/** JSON has no bigints: the order of snapshots goes as decimal text. */
const withBigints = (_key: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value

/** The common flags that a verb hands on to those it runs. */
const handedOn = (values: Values): readonly string[] => [
  ...['config', 'passphrase-file'].flatMap((name) => {
    const value = values.text(name)
    return value === undefined ? [] : [`--${name}`, value]
  }),
  ...['yes', 'json', 'verbose'].flatMap((name) => (values.flag(name) ? [`--${name}`] : [])),
]

/** Of the words that all verbs are handed, those that this one takes. */
const taken = (command: Command, words: readonly string[]): readonly string[] => {
  const at = words.indexOf('--passphrase-file')
  const isTaken = at === -1 || command.options?.['passphrase-file'] !== undefined
  return isTaken ? words : words.filter((_, index) => index !== at && index !== at + 1)
}

/** What a verb gets to work with. Throws `usage` for words that it does not take. */
export const knoxFor = (command: Command, words: readonly string[], run: Run): Knox => {
  const { values, positionals } = parseWords(command, words)
  const { terminal, reporter, ending } = run
  const json = values.flag('json')

  /** the answer of a flag, or else of the person */
  const answer = async (question: Question, asked: () => Promise<string>): Promise<string> => {
    const given = values.text(question.flag) ?? (terminal.interactive ? undefined : question.initial)
    if (given === undefined && !terminal.interactive)
      throw nobody(question.question, `--${question.flag} answers it`)
    if (given === undefined) {
      reporter.pause()
      return asked()
    }
    const problem = question.problem?.(given)
    if (problem !== undefined) throw new KnoxError('usage', `--${question.flag}: ${problem}`)
    return given
  }

  return {
    args: values,
    positionals,
    dryRun: values.flag('dry-run'),
    json,
    configPath: values.text('config'),
    interactive: terminal.interactive,
    config: () => loadConfig(values.text('config')),
    emit: reporter.emit,
    result: (text, value) => terminal.stdout(json ? `${JSON.stringify(value, withBigints)}\n` : `${text}\n`),
    confirm: async (question) => {
      if (values.flag('yes')) return
      if (!terminal.interactive) throw nobody(question, '--yes confirms')
      reporter.pause()
      if (!(await askConfirm(question))) throw new KnoxError('refused', 'not confirmed, nothing was changed')
    },
    confirmTyped: async (question, accepted) => {
      if (values.flag('yes')) return
      if (!terminal.interactive) throw nobody(question, '--yes confirms')
      reporter.pause()
      const typed = (await askText(question)).toLowerCase()
      if (!accepted.some((word) => word.toLowerCase() === typed))
        throw new KnoxError('refused', 'not confirmed, nothing was changed')
    },
    ask: (question) => answer(question, () => askText(question.question, question)),
    choose: (choice) => {
      const words = choice.choices.map(({ value }) => value)
      const problem = (word: string) =>
        words.includes(word) ? undefined : `${JSON.stringify(word)} is none of ${words.join(', ')}`
      const [only, ...others] = words
      const isOpen = only === undefined || others.length > 0
      return answer({ ...choice, problem }, () => (isOpen ? askChoice(choice) : Promise.resolve(only)))
    },
    run: async ([name = '', ...more]) => {
      const other = await run.find(name)
      if (other === undefined) throw new KnoxError('usage', `there is no verb ${JSON.stringify(name)}`)
      const words = [...more, ...taken(other, handedOn(values))]
      const outer = ending.hints
      const inner = knoxFor(other, words, run)
      const whenStopped: Knox['whenStopped'] = (hints) => inner.whenStopped([...hints, ...outer])
      const ended = (await other.run({ ...inner, whenStopped })) ?? 'ok'
      // what was true of that verb is not of the next one
      ending.hints = outer
      if (ended !== 'ok' && ended !== 0)
        throw new KnoxError(
          typeof ended === 'number' ? 'failed' : ended,
          `knox ${name} did not do all of it`,
          [`see above; then again: knox ${command.name}`],
        )
    },
    signal: ending.asked.signal,
    whenStopped: (hints) => {
      ending.hints = hints
    },
    passphrase: async (question, options) => {
      const file = values.text('passphrase-file')
      if (file !== undefined) return readPassphraseFile(file)
      const what = question.replace(/^new /, '')
      const known = run.passphrases.get(what)
      if (known !== undefined) return known
      if (!terminal.interactive) throw nobody(question, '--passphrase-file FILE gives the passphrase')
      reporter.pause()
      const tell = (text: string) => reporter.emit({ type: 'note', text })
      const typed = await askPassphrase(question, options ?? {}, tell)
      run.passphrases.set(what, typed)
      return typed
    },
  }
}
