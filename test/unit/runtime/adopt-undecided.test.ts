import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Runner } from '../../../provision/core/command.ts'
import { KEEP, mustBeDecided } from '../../../provision/runtime/adopt-undecided.ts'
import { knoxError, tempFolder } from '../../support/expect.ts'

test('a run that is armed is undecided until it is confirmed or undone, whatever else it has left', async (t) => {
  const dir = await tempFolder(t)
  const runner: Runner = {
    read: ({ argv: [program = '', ...words], parse }) => {
      const there = words.map((word) => (word === KEEP ? dir : word))
      const { status, stdout } = spawnSync(program, there, { encoding: 'utf8' })
      assert.equal(status, 0)
      return Promise.resolve(parse(stdout))
    },
    act: () => Promise.reject(new Error('nothing is changed')),
  }
  const run = async (name: string, ...files: readonly string[]) => {
    await mkdir(join(dir, name))
    for (const file of files) await writeFile(join(dir, name, file), '')
  }
  await mustBeDecided(runner)
  await run('1', 'saved')
  await run('2', 'armed', 'confirmed')
  await run('3', 'armed', 'undone')
  await mustBeDecided(runner)
  await run('4', 'armed')
  await mkdir(join(dir, '4/decided'))
  await run('5', 'armed')
  await assert.rejects(mustBeDecided(runner), (error) => {
    assert.ok(knoxError('busy', /not decided yet/)(error))
    assert.ok(error instanceof Error && 'hints' in error && Array.isArray(error.hints))
    assert.deepEqual(error.hints.slice(1), [`it is in ${dir}/4`, `it is in ${dir}/5`])
    return true
  })
})
