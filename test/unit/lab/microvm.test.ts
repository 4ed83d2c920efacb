import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { bootGuest } from '../../../provision/lab/microvm.ts'
import { labProblem } from '../../../provision/lab/host.ts'
import { waitUntil } from '../../../provision/lab/monitor.ts'
import { withTempDir } from '../../../provision/system/files.ts'
import { knoxError, writeProgram } from '../../support/expect.ts'

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

/** a stand-in for QEMU, whose guest stands still at its first `stuck` starts */
const withQemu = (stuck: number, work: (dir: string, starts: () => Promise<number>) => Promise<void>) =>
  withTempDir(async (dir) => {
    const path = process.env['PATH'] ?? ''
    await writeProgram(
      dir,
      'qemu-system-x86_64',
      `echo start >>${dir}/starts; [ "$(grep -c . ${dir}/starts)" -gt ${stuck} ] || exec sleep 60; echo "$*" | sed 's/.*knox.mark=\\([^ ]*\\).*/\\1 up/'; echo hello`,
    )
    process.env['PATH'] = `${dir}:${path}`
    try {
      await work(dir, async () => (await readFile(join(dir, 'starts'), 'utf8')).trim().split('\n').length)
    } finally {
      process.env['PATH'] = path
    }
  })

test('a guest that stands still at its start is started anew', { skip: problem ?? false }, () =>
  withQemu(2, async (dir, starts) => {
    const guest = await bootGuest(dir, ['true'], { memoryMib: 256 }, 2)
    assert.equal(await guest.channel.readLine(), 'hello')
    assert.equal(await starts(), 3)
  }),
)

test('a guest that never comes up is told, after three starts', { skip: problem ?? false }, () =>
  withQemu(99, async (dir, starts) => {
    await assert.rejects(
      bootGuest(dir, ['true'], { memoryMib: 256 }, 1),
      knoxError('failed', /does not come up/),
    )
    assert.equal(await starts(), 3)
  }),
)
