import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import {
  assertAsBefore,
  noSandbox,
  PASSPHRASE,
  startSandbox,
  type Sandbox,
} from '../support/adopt/sandbox.ts'
import { CTRL_C, DOWN, ENTER, startPty, type Pty } from '../support/pty.ts'

/** `knox setup` at a terminal, where an installed machine with a plain sshd shall become the box. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const noScript = spawnSync('script', ['--version']).error === undefined ? undefined : 'no script(1) here'
const skip = noSandbox() ?? noScript ?? false

describe('knox setup for an installed machine', { skip, concurrency: 2 }, () => {
  const walk = (box: Sandbox, ...words: readonly string[]) => {
    const cwd = join(box.dir, 'home')
    const argv = [process.execPath, KNOX, 'setup', '--ssh-config', '../ssh_config']
    return startPty([...argv, ...words], { cwd, env: { HOME: cwd }, columns: 240 })
  }
  const installed = (box: Sandbox) => ['--box', 'installed', '--address', `127.0.0.1:${box.port}`]
  const start = async (t: TestContext): Promise<Sandbox> => {
    const box = await startSandbox(t)
    const yaml = join(box.dir, 'home/knox.yaml')
    await writeFile(yaml, (await readFile(yaml, 'utf8')).replace(/addresses: .*/, 'addresses: []'))
    return box
  }
  const stop = async (pty: Pty, question: RegExp) => {
    await pty.see(question)
    pty.type(CTRL_C)
    assert.equal(await pty.ended, 130, pty.screen())
    assert.match(pty.screen(), /nothing is lost: knox setup goes on from here/)
  }
  const confirmed = async (pty: Pty) => {
    await pty.see(/passphrase of the keys/)
    pty.type(PASSPHRASE + ENTER)
    await pty.see(/change these \d+ files on 127\.0\.0\.1/)
  }

  test('can be stopped at every question, and goes on there until the box is proved', async (t) => {
    const box = await start(t)
    const one = walk(box)
    await one.see(/how far is it\?/)
    one.type(DOWN + DOWN + ENTER)
    await one.see(/its address\?/)
    one.type(`127.0.0.1:${box.port}${ENTER}`)
    await stop(one, /passphrase of the keys/)
    await assertAsBefore(box)
    const two = walk(box, ...installed(box))
    await confirmed(two)
    await stop(two, /./)
    await assertAsBefore(box)
    const no = walk(box, ...installed(box))
    await confirmed(no)
    no.type(`n${ENTER}`)
    assert.equal(await no.ended, 4)
    assert.match(no.screen(), /not confirmed, nothing was changed/)
    await assertAsBefore(box)
    const three = walk(box, ...installed(box))
    await confirmed(three)
    three.type(`y${ENTER}`)
    await stop(three, /restart it now/)
    assert.equal(await box.newWay(), true)
    const four = walk(box, ...installed(box))
    await four.see(/the box: knox answers at 127\.0\.0\.1:\d+, proved by its host key/)
    await stop(four, /passphrase of the keys/)
    assert.match(
      (await box.file('/home/knox.yaml')) ?? '',
      new RegExp(`addresses: \\[ ?127\\.0\\.0\\.1:${box.port} ?\\]`),
    )
  })

  test('that was stopped before it was confirmed: its disk is not prepared', async (t) => {
    const box = await start(t)
    const one = walk(box, ...installed(box))
    await confirmed(one)
    one.type(`y${ENTER}`)
    await stop(one, /logging in by certificate/)
    const two = walk(box, ...installed(box))
    await two.see(/the box: knox answers at/)
    await two.see(/passphrase of the keys/)
    two.type(PASSPHRASE + ENTER)
    assert.equal(await two.ended, 11, two.screen())
    assert.match(two.screen(), /an earlier run on this machine is not decided yet/)
  })

  test('goes on without the restart, if the owner does not want it now', async (t) => {
    const box = await start(t)
    const pty = walk(box, ...installed(box))
    await confirmed(pty)
    pty.type(`y${ENTER}`)
    await pty.see(/restart it now/)
    pty.type(ENTER)
    await pty.see(/the box: knox answers at 127\.0\.0\.1:\d+, proved by its host key/)
    assert.doesNotMatch(pty.screen(), /nothing was changed/)
    pty.type(CTRL_C)
    await pty.ended
    assert.equal(await box.file('/root/.starts'), undefined)
  })
})
