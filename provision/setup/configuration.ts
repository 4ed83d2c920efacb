import { readFile } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { BOARDS } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { isName, NAMES, type NameRule } from '../core/names.ts'
import { findConfig, newConfigPath, parseConfig } from '../system/config-file.ts'
import { writeFileAtomic } from '../system/files.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { poolNames } from '../tools/zpool.ts'
import { configNow, type Step, type World } from './step.ts'

const EXAMPLE = new URL('../../knox.example.yaml', import.meta.url)

/** What is wrong with a name, for a question. */
export const problemOf =
  (rule: NameRule) =>
  (text: string): string | undefined =>
    isName(rule, text) ? undefined : `is not a ${rule.what}: expected ${rule.expected}`

/** The pool to back up: not asked where there is only one. */
const choosePool = async ({ owner, emit }: World): Promise<string> => {
  const pools = await runnerAt(HERE, emit).read(poolNames)
  const [only] = pools
  if (only === undefined)
    throw new KnoxError('config', 'there is no ZFS pool on this machine', [
      'knox runs where the pool is that is to be backed up',
    ])
  return owner.choose({
    question: 'which pool is to be backed up?',
    flag: 'pool',
    // without a terminal there is nothing to choose where there is one
    ...(pools.length === 1 ? { initial: only } : {}),
    choices: pools.map((pool) => ({ value: pool, label: pool })),
  })
}

const LABELS = { 'rpi-b': 'a Raspberry Pi, Model B', laptop: 'a laptop or another PC' } as const

const write = async (world: World): Promise<void> => {
  const { owner } = world
  const pool = await choosePool(world)
  const name = await owner.ask({
    question: 'what shall the box be called?',
    flag: 'name',
    initial: 'knox',
    problem: problemOf(NAMES.box),
  })
  const board = await owner.choose({
    question: 'what is the box?',
    flag: 'board',
    initial: 'rpi-b',
    choices: BOARDS.map((value) => ({ value, label: LABELS[value] })),
  })
  const document = parseDocument(await readFile(EXAMPLE, 'utf8'))
  document.setIn(['box', 'addresses'], [])
  document.setIn(['box', 'name'], name)
  document.setIn(['box', 'board'], board)
  document.setIn(['home', 'pool'], pool)
  const path = newConfigPath(world.configPath)
  const text = document.toString({ lineWidth: 0 })
  parseConfig(text, path)
  await writeFileAtomic(path, text)
}

/** knox.yaml, with comments that show every key. */
export const configuration: Step = {
  title: 'knox.yaml',
  plan: 'ask for pool, name and board, and write knox.yaml',
  look: async (world) => {
    const path = await findConfig(world.configPath)
    if (path === undefined) return undefined
    const { box, home } = await configNow(world)
    return `${path}: the pool ${home.pool} to the box ${box.name} (${box.board})`
  },
  act: write,
}
