import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { messageOf } from '../../provision/core/errors.ts'
import { bundle } from '../../provision/lab/bundle.ts'
import { labProblem } from '../../provision/lab/host.ts'
import { waitUntil } from '../../provision/lab/monitor.ts'
import { mustRun, startPair, type Pair } from '../../provision/lab/pair.ts'
import { diceOf } from '../box/hostile-inputs.ts'
import { isAttack } from './cell.ts'
import { cells } from './cells.ts'
import { judge, makeReady, settle } from './judge.ts'
import { tableOf, type Row } from './table.ts'

/**
 * The fault matrix: test/faults/cells.ts on two machines of the lab.
 *   run.ts [--quick] [--seed N] [--minutes N] [--write] [WORDS]   only the cells whose name has these words
 * --minutes: cells that have not begun by then are skipped; --write: their lines of docs/faults.md
 */

const write = (line: string) => void process.stdout.write(`${line}\n`)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean' },
    write: { type: 'boolean' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
  },
})
const TABLE = new URL('../../docs/faults.md', import.meta.url)
const TOO_LATE = 'not run: the time is over'
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const end = Math.min(
  Date.now() + Number(values.minutes ?? 240) * 60_000,
  Number(process.env['KNOX_TEST_UNTIL'] ?? Number.POSITIVE_INFINITY) * 1000,
)
const dice = diceOf(seed)

const freshPair = async (): Promise<Pair> => {
  const pair = await startPair({
    diskMib: 2048,
    tankMib: 1536,
    homeYaml: '  retries: 0\n  exclude: [tank/hog]\n',
  })
  try {
    await makeReady(pair)
    return pair
  } catch (error) {
    await pair.stop()
    throw error
  }
}

const chosen = cells.filter(
  ({ name, quick }) =>
    (values.quick !== true || quick === true) &&
    (positionals.length === 0 || positionals.some((words) => name.includes(words))),
)

/** cells after which the box's contents are looked at, for all of them at once */
const A_LOOK = 10

/** Each cell's line in the table as soon as its contents were compared: a run that is cut off has seen what it has seen. */
const save = async (rows: readonly Row[], versions: string): Promise<void> => {
  // a pair that could not even be made says nothing of a cell
  if (values.write !== true || versions === '') return
  const names = cells.map(({ name }) => name)
  const known = rows.filter(
    ({ verdict, looked }) => (typeof verdict === 'string' && verdict !== TOO_LATE) || looked === true,
  )
  const date = new Date().toISOString().slice(0, 10)
  const earlier = await readFile(TABLE, 'utf8').catch(() => '')
  await writeFile(TABLE, tableOf(names, known, { seed, date, versions }, earlier))
}

const runAll = async (): Promise<readonly Row[]> => {
  const rows: Row[] = []
  let pair: Pair | undefined
  let versions = ''
  /** Compares what has been claimed since the last look; a row that does not hold becomes a failed one. */
  const look = async (pair: Pair): Promise<void> => {
    const open = rows.flatMap(({ verdict, looked }, n) =>
      typeof verdict === 'string' || looked === true ? [] : [{ n, verdict }],
    )
    if (open.length === 0) return
    const claims = open.map(({ verdict }) => verdict)
    const settleAll = async () => {
      if (!pair.box().isOn()) await pair.switchOn()
      // a cell that failed may have left a run under way
      await waitUntil(async () => (await pair.leftovers()).length === 0, 180)
      return settle(pair, claims)
    }
    const same = await settleAll().catch((error: unknown) => {
      write(`    the box could not be looked at: ${messageOf(error)}`)
      return new Set<string>()
    })
    for (const { n, verdict } of open) {
      const { name } = rows[n]!
      const holds = same.has(verdict.snapshot)
      rows[n] = holds ? { name, verdict, looked: true } : { name, verdict: 'failed: the contents differ' }
      write(`${holds ? 'ok' : 'not ok'} - ${name}: contents are${holds ? '' : ' not'} equal, by SHA-256`)
    }
    await save(rows, versions)
  }
  for (const cell of chosen) {
    const begun = Date.now()
    const seconds = () => Math.round((Date.now() - begun) / 1000)
    if (begun > end) {
      rows.push({ name: cell.name, verdict: TOO_LATE })
      write(`skipped - ${cell.name}: ${TOO_LATE}`)
      continue
    }
    try {
      pair ??= await freshPair()
      if (versions === '')
        versions = (await mustRun(pair.box(), 'zfs version | head -n 1; ssh -V 2>&1; uname -r')).trim()
      // what an attack may destroy, all but the anchors, is what earlier cells claim
      if (isAttack(cell)) await look(pair)
      const verdict = await judge(pair, cell, dice)
      rows.push({ name: cell.name, verdict })
      const locked = verdict.openFor === undefined ? '' : `, open for ${Math.round(verdict.openFor)} s`
      const ended = verdict.exitCode === null ? '' : ` exit ${verdict.exitCode}${locked};`
      write(`     ${cell.name}:${ended} the next run sent ${verdict.resent} (${seconds()} s)`)
      if (rows.length % A_LOOK === 0) await look(pair)
    } catch (error) {
      const text = messageOf(error)
      rows.push({ name: cell.name, verdict: `failed: ${text.split('\n')[0] ?? ''}` })
      write(`not ok - ${cell.name} (${seconds()} s)\n    ${text.replaceAll('\n', '\n    ')}`)
      // whatever it left must not be the next cell's fault
      if (pair !== undefined) await look(pair)
      await pair?.stop()
      pair = undefined
    }
  }
  if (pair !== undefined) await look(pair)
  await pair?.stop()
  await save(rows, versions)
  return rows
}

/** All 10,000 hostile inputs to the forced commands; `npm test` says some of them. */
const sayAllHostile = (): boolean =>
  spawnSync(process.execPath, ['--import', 'tsx', '--test', 'test/box/hostile.test.ts'], {
    env: { ...process.env, KNOX_HOSTILE_SHARE: '1', KNOX_SEED: String(seed) },
    stdio: 'inherit',
  }).status === 0

if (values.quick !== true && positionals.length === 0 && !sayAllHostile()) process.exitCode = 1

const problem = await labProblem()
if (problem !== undefined) {
  write(`fault matrix skipped: ${problem}`)
  // CI has root and Debian: there a skipped matrix is a failure
  process.exitCode = process.env['CI'] === 'true' ? 1 : 0
} else {
  write(`the fault matrix: ${chosen.length} cells, seed ${seed}`)
  await bundle([])
  const rows = await runAll()
  const skipped = rows.filter(({ verdict }) => verdict === TOO_LATE).length
  const passed = rows.filter(({ looked }) => looked === true).length
  const failed = rows.length - passed - skipped
  // whoever sets a time wants what fits into it; the whole matrix is whole
  if (failed > 0 || (skipped > 0 && values.minutes === undefined)) process.exitCode = 1
  write(`faults: ${passed} passed, ${failed} failed, ${skipped} skipped`)
}
