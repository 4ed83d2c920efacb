import { writeFile } from 'node:fs/promises'
import { release } from 'node:os'
import { parseArgs } from 'node:util'
import { bundle } from '../../provision/lab/bundle.ts'
import { labProblem } from '../../provision/lab/host.ts'
import { mustRun, startPair, type Pair } from '../../provision/lab/pair.ts'
import { diceOf } from '../box/hostile-inputs.ts'
import { cells } from './cells.ts'
import { judge, makeReady } from './judge.ts'
import { tableOf, type Row } from './table.ts'

/**
 * The fault matrix: test/faults/cells.ts on two machines of the lab.
 *   run.ts [--quick] [--seed N] [--minutes N] [--write] [WORDS]   only the cells whose name has these words
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
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const end = Date.now() + Number(values.minutes ?? 240) * 60_000
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

const runAll = async (): Promise<readonly Row[]> => {
  const rows: Row[] = []
  let pair: Pair | undefined
  let versions = ''
  for (const cell of chosen) {
    const begun = Date.now()
    const seconds = () => Math.round((Date.now() - begun) / 1000)
    if (begun > end) {
      rows.push({ name: cell.name, verdict: 'not run: the time is over' })
      write(`- ${cell.name}: not run, the time is over`)
      continue
    }
    try {
      pair ??= await freshPair()
      if (versions === '')
        versions = (await mustRun(pair.box(), 'zfs version | head -n 1; ssh -V 2>&1; uname -r')).trim()
      const verdict = await judge(pair, cell, dice)
      rows.push({ name: cell.name, verdict })
      const locked =
        verdict.lockedAfter === undefined ? '' : `, locked after ${Math.round(verdict.lockedAfter)} s`
      const ended = verdict.exitCode === null ? '' : ` exit ${verdict.exitCode}${locked};`
      write(`ok - ${cell.name}:${ended} the next run sent ${verdict.resent} (${seconds()} s)`)
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      rows.push({ name: cell.name, verdict: `failed: ${text.split('\n')[0] ?? ''}` })
      write(`not ok - ${cell.name} (${seconds()} s)\n    ${text.replaceAll('\n', '\n    ')}`)
      // whatever it left must not be the next cell's fault
      await pair?.stop()
      pair = undefined
    }
  }
  await pair?.stop()
  if (values.write === true)
    await writeFile(
      TABLE,
      tableOf(rows, { seed, date: new Date().toISOString().slice(0, 10), host: release(), versions }),
    )
  return rows
}

const problem = await labProblem()
if (problem !== undefined) {
  write(`fault matrix skipped: ${problem}`)
  // CI has root and Debian: there a skipped matrix is a failure
  process.exitCode = process.env['CI'] === 'true' ? 1 : 0
} else {
  write(`the fault matrix: ${chosen.length} cells, seed ${seed}`)
  await bundle([])
  const rows = await runAll()
  const failed = rows.filter(({ verdict }) => typeof verdict === 'string').length
  if (failed > 0 || rows.length === 0) process.exitCode = 1
  write(`faults: ${rows.length - failed} passed, ${failed} failed`)
}
