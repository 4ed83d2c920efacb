import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Config } from '../../../provision/core/config.ts'
import type { LastRun } from '../../../provision/runtime/last-run.ts'
import { receiptOf, writeReceipt } from '../../../provision/runtime/receipt.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'
import { inventory } from '../../support/simulated-box.ts'
import { init } from '../keys/folders.ts'

/** A home with keys, a zfs that lists, and a receipt: what alerts and doctor look at. */

export const NOW = new Date('2026-11-23T12:00:00.000Z')
export const ago = (seconds: number): Date => new Date(NOW.getTime() - seconds * 1000)

export const HOUR = 3600
export const DAY = 24 * HOUR

export interface AlertHome {
  readonly dir: string
  readonly folder: string
  readonly yaml: string
  readonly config: Config
  /** each line a dataset as in simulated-box.ts; ages in seconds by name, a day where none is said */
  readonly zfs: (lines: readonly string[], ages?: Readonly<Record<string, number>>) => Promise<void>
  readonly proved: (
    age: number,
    lines: readonly string[],
    available?: number,
    trouble?: string,
  ) => Promise<void>
}

const program = (lines: readonly string[]): string => `cat <<'END'\n${lines.join('\n')}\nEND`

export const alertHome = async (t: TestContext, more = '', pathFirst = ''): Promise<AlertHome> => {
  const dir = await tempFolder(t)
  const folder = await init(t)
  await mkdir(join(dir, 'bin'))
  const yaml = `box:\n  addresses: [192.0.2.1]\n  pool: bk\nhome:\n  pool: wd\n  folder: ${folder}\n${more}`
  await writeFile(join(dir, 'knox.yaml'), yaml)
  withEnv(t, { PATH: `${pathFirst}${join(dir, 'bin')}:${process.env['PATH'] ?? ''}` })
  return {
    dir,
    folder,
    yaml,
    config: parseConfig(yaml, 'knox.yaml'),
    zfs: async (lines, ages = {}) => {
      const datasets = inventory(...lines)
      const made = (name: string) => Math.floor(ago(ages[name] ?? DAY).getTime() / 1000)
      const rows = datasets.flatMap(({ name, snapshots, guid }, n) => [
        [name, 'filesystem', guid.replace(/.*/, `9${n}`), '1', made(name)],
        ...snapshots.map((one) => [
          `${name}@${one.name}`,
          'snapshot',
          one.guid,
          one.createtxg,
          made(`${name}@${one.name}`),
        ]),
      ])
      const table = program(rows.map((row) => row.slice(0, 4).join('\t')))
      const times = program(rows.map((row) => [row[0], row[4]].join('\t')))
      await writeProgram(
        join(dir, 'bin'),
        'zfs',
        `case "$*" in\n*name,creation*)\n${times}\n;;\nlist*)\n${table}\n;;\n*) exit 9 ;;\nesac`,
      )
    },
    proved: (age, lines, available = 9000, trouble = '') => {
      const pool = { name: 'bk', guid: '77', used: 1000, available, disk: '', trouble }
      const datasets = inventory(...lines)
      return writeReceipt(folder, receiptOf('knox', undefined, { pool, datasets }, ago(age)))
    },
  }
}

/** A last run that failed three hours ago, or what is said instead. */
export const lastRun = (more: Partial<LastRun> = {}): LastRun => ({
  version: 1,
  verb: 'snapback',
  box: 'knox',
  started: ago(3 * HOUR + 60).toISOString(),
  ended: ago(3 * HOUR).toISOString(),
  exit: 'unreachable',
  code: 10,
  message: 'the box does not answer',
  hints: ['is it switched on, and reachable from here?'],
  bytes: null,
  succeeded: null,
  ...more,
})
