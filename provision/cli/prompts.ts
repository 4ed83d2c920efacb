import { readFile } from 'node:fs/promises'
import { KnoxError } from '../core/errors.ts'
import type { Choice, Question } from '../core/owner.ts'
import { Secret } from '../core/secret.ts'

const interrupted = (error: unknown): never => {
  if (error instanceof Error && error.name === 'ExitPromptError')
    throw new KnoxError('interrupted', 'interrupted')
  throw error
}

/** loaded only when somebody is asked: most runs are cron’s */
const prompts = async () => (await import('inquirer')).default

/** Asks yes or no at the terminal. */
export const askConfirm = async (question: string): Promise<boolean> => {
  const answer = await (
    await prompts()
  )
    .prompt([{ type: 'confirm', name: 'yes', message: question, default: false }])
    .catch(interrupted)
  return Boolean(answer.yes)
}

/** Asks for a line of text at the terminal, until there is no problem with it. */
export const askText = async (
  question: string,
  { initial, problem }: Pick<Question, 'initial' | 'problem'> = {},
): Promise<string> => {
  const validate = (text: string) => problem?.(text.trim()) ?? true
  const given = initial === undefined ? {} : { default: initial }
  const answer = await (
    await prompts()
  )
    .prompt([{ type: 'input', name: 'text', message: question, validate, ...given }])
    .catch(interrupted)
  return String(answer.text).trim()
}

/** Asks for one of several at the terminal. */
export const askChoice = async ({ question, choices, initial }: Choice): Promise<string> => {
  const list = choices.map(({ value, label }) => ({ value, name: label }))
  const given = initial === undefined ? {} : { default: initial }
  const answer = await (
    await prompts()
  )
    .prompt([{ type: 'select', name: 'value', message: question, choices: list, ...given }])
    .catch(interrupted)
  return String(answer.value)
}

const askPassword = async (question: string): Promise<string> => {
  const answer = await (
    await prompts()
  )
    .prompt([{ type: 'password', name: 'text', message: question, mask: '*' }])
    .catch(interrupted)
  return String(answer.text)
}

/** Asks for a passphrase at the terminal, twice where it is a new one. */
export const askPassphrase = async (question: string, twice: boolean): Promise<Secret> => {
  const first = await askPassword(question)
  if (twice && (await askPassword(`${question} (again)`)) !== first)
    throw new KnoxError('usage', 'the two passphrases differ', ['nothing was changed; start again'])
  return new Secret('passphrase', first)
}

/** The first line of a passphrase file. */
export const readPassphraseFile = async (path: string): Promise<Secret> => {
  const text = await readFile(path, 'utf8').catch(() => {
    throw new KnoxError('usage', `the passphrase file cannot be read: ${path}`)
  })
  return new Secret('passphrase', text.split('\n')[0]?.replace(/\r$/, '') ?? '')
}
