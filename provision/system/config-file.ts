import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { isMap, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import type * as z from 'zod'
import { configSchema, type Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import { readTextIfAny } from './files.ts'

const candidates = (): readonly string[] => [
  resolve('knox.yaml'),
  join(homedir(), '.config', 'knox', 'knox.yaml'),
]

const MOST_PROBLEMS = 10

/** The node an issue's path leads to: the value, or the nearest thing above it that is in the file. */
const nodeAt = (document: Document, path: readonly PropertyKey[], unknownKey?: string): Node | undefined => {
  for (let length = path.length; length >= 0; length -= 1) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    if (isMap(node) && unknownKey !== undefined) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === unknownKey)
      if (pair !== undefined) return pair.key as Node
    }
    if (typeof node === 'object' && node !== null && 'range' in node) return node as Node
  }
  return undefined
}

type Issue = z.core.$ZodIssue

const isOfWrongType = ({ code, path }: Issue): boolean => path.length === 0 && code.startsWith('invalid_')

const worded = (message: string): string =>
  message.endsWith('received undefined') ? 'is missing' : message.replace(/^Invalid input: /, '')

/** An issue as one problem a line: for a union those of the one branch whose type fits, for unknown keys each. */
const problemsOf = (issue: Issue): readonly (Pick<Issue, 'path' | 'message'> & { key?: string })[] => {
  const { path, message } = issue
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({ path, key, message: 'is not a key knox knows' }))
  const branch =
    issue.code === 'invalid_union' ? issue.errors.find((one) => !one.some(isOfWrongType)) : undefined
  if (branch === undefined) return [{ path, message: worded(message) }]
  return branch.flatMap(problemsOf).map((problem) => ({ ...problem, path: [...path, ...problem.path] }))
}

/**
 * Parses and checks the text of a knox.yaml.
 * Throws `config` with every problem as file:line:column; the file name is only used in messages.
 */
export const parseConfig = (text: string, file: string): Config => {
  const lines = new LineCounter()
  const at = (offset: number, problem: string) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}: ${printable(problem)}`
  }
  const fail = (problems: readonly string[]): never => {
    const [first = '', ...rest] = problems.slice(0, MOST_PROBLEMS)
    throw new KnoxError('config', first, [...rest, 'knox.example.yaml shows every key'])
  }
  const parse = () => {
    try {
      const document = parseDocument(text, {
        lineCounter: lines,
        uniqueKeys: true,
        prettyErrors: false,
        logLevel: 'error',
      })
      // an alias without its anchor, or a few lines that unfold to millions, throw here
      return {
        document,
        value: document.errors.length > 0 ? undefined : (document.toJS({ maxAliasCount: 10 }) as unknown),
      }
    } catch (error) {
      return fail([at(0, `it cannot be read as YAML: ${messageOf(error)}`)])
    }
  }
  const { document, value } = parse()
  if (document.errors.length > 0)
    return fail(
      document.errors.map(({ pos, code, message }) =>
        at(pos[0], code === 'MULTIPLE_DOCS' ? 'a second document begins here' : message),
      ),
    )
  if (value === null || value === undefined) return fail([at(0, 'the file is empty')])

  const checked = configSchema.safeParse(value)
  if (checked.success) return checked.data
  return fail(
    checked.error.issues.flatMap(problemsOf).map(({ path, key, message }) => {
      const where = [...path, ...(key === undefined ? [] : [key])].map(String).join('.')
      const node = nodeAt(document, path, key)
      return at(node?.range?.[0] ?? 0, where === '' ? message : `${where}: ${message}`)
    }),
  )
}

const readConfig = (path: string): Promise<string | undefined> =>
  readTextIfAny(path).catch((error: unknown) => {
    throw new KnoxError('config', `${path} cannot be read: ${messageOf(error)}`)
  })

/** The knox.yaml that counts; undefined if there is none. `file` is what --config names. */
export const findConfig = async (file: string | undefined): Promise<string | undefined> => {
  for (const path of file === undefined ? candidates() : [resolve(file)])
    if ((await readConfig(path)) !== undefined) return path
  return undefined
}

/** Where a new knox.yaml belongs. */
export const newConfigPath = (file: string | undefined): string => resolve(file ?? 'knox.yaml')

/** Finds, reads and checks knox.yaml. Throws `config` if there is none or it is wrong. */
export const loadConfig = async (file: string | undefined): Promise<Config> => {
  const path = await findConfig(file)
  const text = path === undefined ? undefined : await readConfig(path)
  if (path !== undefined && text !== undefined) return parseConfig(text, path)
  const looked = file === undefined ? candidates().join(' and ') : resolve(file)
  throw new KnoxError('config', `there is no knox.yaml (looked at ${looked})`, [
    'cp knox.example.yaml knox.yaml, then write your box’s address and your pool into it; or let knox setup ask you',
    'or name one with --config FILE',
  ])
}

/** The folder of this box's keys and receipts at home. */
export const homeFolder = (config: Config): string =>
  config.home.folder ?? join(homedir(), '.config', 'knox', config.box.name)
