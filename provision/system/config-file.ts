import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { isMap, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { configSchema, type Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
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

/**
 * Parses and checks the text of a knox.yaml.
 * Throws `config` with every problem as file:line:column; the file name is only used in messages.
 */
export const parseConfig = (text: string, file: string): Config => {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true })
  const at = (offset: number, problem: string) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}: ${printable(problem)}`
  }
  const fail = (problems: readonly string[]): never => {
    const [first = '', ...rest] = problems.slice(0, MOST_PROBLEMS)
    throw new KnoxError('config', first, [...rest, 'knox.example.yaml shows every key'])
  }
  if (document.errors.length > 0)
    return fail(document.errors.map(({ pos, message }) => at(pos[0], message.split('\n')[0] ?? '')))
  if (document.contents === null) return fail([at(0, 'the file is empty')])

  const checked = configSchema.safeParse(document.toJS({ maxAliasCount: 10 }))
  if (checked.success) return checked.data
  return fail(
    checked.error.issues.map((issue) => {
      const key = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
      const node = nodeAt(document, issue.path, key)
      const where = issue.path.map(String).join('.')
      const what =
        key === undefined
          ? `${where}: ${issue.message}`
          : `${where === '' ? '' : `${where}.`}${key}: is not a key knox knows`
      return at(node?.range?.[0] ?? 0, what)
    }),
  )
}

/** Finds, reads and checks knox.yaml. Throws `config` if there is none or it is wrong. */
export const loadConfig = async (file: string | undefined): Promise<Config> => {
  for (const path of file === undefined ? candidates() : [resolve(file)]) {
    const text = await readTextIfAny(path)
    if (text !== undefined) return parseConfig(text, path)
  }
  const looked = file === undefined ? candidates().join(' and ') : resolve(file)
  throw new KnoxError('config', `there is no knox.yaml (looked at ${looked})`, [
    'cp knox.example.yaml knox.yaml, then write your box’s address and your pool into it',
    'or name one with --config FILE',
  ])
}

/** The folder of this box's keys and receipts at home. */
export const homeFolder = (config: Config): string =>
  config.home.folder ?? join(homedir(), '.config', 'knox', config.box.name)
