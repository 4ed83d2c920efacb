import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { labProblem } from '../../../provision/lab/host.ts'
import { waitUntil } from '../../../provision/lab/monitor.ts'
import { withTempDir } from '../../../provision/system/files.ts'

const problem = await labProblem()

const START = (dir: string): string => `
  import { bootGuest } from '${new URL('../../../provision/lab/microvm.ts', import.meta.url).href}'
  await bootGuest(${JSON.stringify(dir)}, ['sleep', '600'], { memoryMib: 256, devices: ['-pidfile', ${JSON.stringify(join(dir, 'pid'))}] })
`

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('a guest goes when whoever started it is killed', { skip: problem ?? false }, () =>
  withTempDir(async (dir) => {
    const starter = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', START(dir)])
    const pidOf = async () => Number((await readFile(join(dir, 'pid'), 'utf8').catch(() => '')).trim())
    assert.ok(await waitUntil(async () => (await pidOf()) > 0, 120), 'no guest was started')
    const pid = await pidOf()
    assert.ok(isAlive(pid))
    starter.kill('SIGKILL')
    await once(starter, 'close')
    const isGone = await waitUntil(() => !isAlive(pid), 10)
    if (!isGone) process.kill(pid, 'SIGKILL')
    assert.ok(isGone, 'the guest lives on')
  }),
)
