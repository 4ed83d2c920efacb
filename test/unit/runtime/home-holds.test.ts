import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Config } from '../../../provision/core/config.ts'
import { holdForSends } from '../../../provision/runtime/home-holds.ts'
import type { Send } from '../../../provision/runtime/plan.ts'
import type { Dataset } from '../../../provision/tools/zfs.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'

const COUNT = 70
const snapshot = (name: string, n: number, held = false) => ({
  ...{ name, guid: `${name}${n}`, createtxg: n },
  ...(held ? { held: true as const } : {}),
})
const home = Array.from({ length: COUNT }, (_, n) => ({
  ...{ name: `wd/d ${n}`, guid: `d${n}`, type: 'filesystem' },
  snapshots: [snapshot('old', n, true), snapshot('from', n, true), snapshot('to', n)],
})) as unknown as readonly Dataset[]
const sends = home.map(({ name }) => ({
  ...{ step: 'send', kind: 'incremental', dataset: name },
  range: { dataset: name, from: 'from', to: 'to' },
})) as unknown as readonly Send[]

test('a thousand holds are many small commands side by side, and nothing is let go before all are there', async (t) => {
  const dir = await tempFolder(t)
  await writeProgram(
    dir,
    'zfs',
    // one that is held already says so; the others are held all the same
    `echo "$1 begins $(($# - 2))" >>${dir}/log; sleep 0.2; echo "$1 ends" >>${dir}/log
for name; do echo "$name" >>${dir}/$1; done
[ $1 = release ] || { echo "cannot hold snapshot 'wd/d 1@from': tag already exists on this dataset" >&2; exit 1; }`,
  )
  withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
  const config = { box: { name: 'knox' } } as Config
  const after = await holdForSends(config, home, sends, () => undefined)
  assert.ok(after?.every(({ snapshots }) => snapshots.every(({ held }) => held)))
  const named = async (verb: string) =>
    (await readFile(join(dir, verb), 'utf8'))
      .split('\n')
      .filter((line) => line.includes('@'))
      .sort()
  assert.deepEqual(await named('hold'), home.flatMap(({ name }) => [`${name}@from`, `${name}@to`]).sort())
  assert.deepEqual(await named('release'), home.map(({ name }) => `${name}@old`).sort())
  const log = (await readFile(join(dir, 'log'), 'utf8')).split('\n')
  assert.ok(log.every((line) => Number(line.split(' ')[2] ?? 0) <= 40))
  assert.ok(log.lastIndexOf('hold ends') < log.findIndex((line) => line.startsWith('release')))
  // the second begins before the first ends
  assert.match(log[1] ?? '', /^hold begins/)
})
