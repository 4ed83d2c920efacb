import { readFile } from 'node:fs/promises'
import { KnoxError } from '../core/errors.ts'
import type { Choice, Question } from '../core/owner.ts'
import { Secret } from '../core/secret.ts'

const interrupted = (error: unknown): never => {
  if (error instanceof Error && error.name === 'ExitPromptError')
    throw new KnoxError('interrupted', 'interrupted')
  throw error
}

/** On stderr, since stdout carries results only; loaded when somebody is asked: most runs are cron’s. */
const prompts = async () => {
  const { default: inquirer } = await import('inquirer')
  return inquirer.createPromptModule({ output: process.stderr })
}

/** A question broken between words, where the terminal would break it anywhere; `before` are the columns before it. */
export const fitted = (text: string, columns = process.stderr.columns, before = 2): string => {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`
    const room = (columns > 0 ? columns : 80) - (lines.length === 0 ? before : 0) - 1
    if (line !== '' && longer.length > room) lines.push(line)
    line = line !== '' && longer.length > room ? word : longer
  }
  return [...lines, line].join('\n')
}

/** Asks yes or no at the terminal. */
export const askConfirm = async (question: string): Promise<boolean> => {
  const prompt = await prompts()
  const asked = prompt([{ type: 'confirm', name: 'yes', message: fitted(question), default: false }])
  return Boolean((await asked.catch(interrupted)).yes)
}

/** Asks for a line of text at the terminal, until there is no problem with it. */
export const askText = async (
  question: string,
  { initial, problem }: Pick<Question, 'initial' | 'problem'> = {},
): Promise<string> => {
  const validate = (text: string) => problem?.(text.trim()) ?? true
  const given = initial === undefined ? {} : { default: initial }
  const prompt = await prompts()
  const message = fitted(question)
  const asked = prompt([{ type: 'input', name: 'text', message, validate, ...given }])
  return String((await asked.catch(interrupted)).text).trim()
}

/** Asks for one of several at the terminal. */
export const askChoice = async ({ question, choices, initial }: Choice): Promise<string> => {
  const list = choices.map(({ value, label }) => ({ value, name: fitted(label), short: label }))
  const given = initial === undefined ? {} : { default: initial }
  const prompt = await prompts()
  const message = fitted(question)
  const asked = prompt([{ type: 'select', name: 'value', message, choices: list, ...given }])
  return String((await asked.catch(interrupted)).value)
}

export interface PassphraseOptions {
  /** a new one is typed twice */
  readonly twice?: boolean
  /** what is wrong with a new one; undefined if nothing is */
  readonly problem?: (text: string) => string | undefined
}

const askPassword = async (
  question: string,
  problem: PassphraseOptions['problem'] = () => undefined,
): Promise<string> => {
  const validate = (text: string) => problem(text) ?? true
  const prompt = await prompts()
  const asked = prompt([{ type: 'password', name: 'text', message: question, mask: '*', validate }])
  return String((await asked.catch(interrupted)).text)
}

/** Asks for a passphrase at the terminal; a new one twice, until both are the same and nothing is wrong with it. */
export const askPassphrase = async (
  question: string,
  { twice = false, problem }: PassphraseOptions,
  tell: (text: string) => void,
): Promise<Secret> => {
  for (;;) {
    const first = await askPassword(question, problem)
    if (!twice || (await askPassword(`${question} (again)`)) === first) return new Secret('passphrase', first)
    tell('the two passphrases differ: once more')
  }
}

/** The first line of a passphrase file. */
export const readPassphraseFile = async (path: string): Promise<Secret> => {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new KnoxError('usage', `the passphrase file cannot be read: ${path}`)
  })
  return new Secret('passphrase', text.split('\n')[0]?.replace(/\r$/, '') ?? '')
}
