import assert from 'node:assert/strict'
import { appendFile, copyFile, mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { exists } from '../../provision/system/files.ts'
import { noSandbox, OLD, startSandbox, type Sandbox } from '../support/adopt/sandbox.ts'

/** The switch of adopt-box.sh at the next start of a machine, on a root that is really read-only. */

const skip = noSandbox() ?? false
const SCRIPT = resolve(import.meta.dirname, '../../provision/runtime/adopt-box.sh')
const FOLDER = '/root/knox-before/20261123T220000Z'

/** A machine with one file changed by a confirmed run, which has kept its old text. */
const changedMachine = (t: TestContext): Promise<Sandbox> =>
  startSandbox(t, async (dir) => {
    const folder = join(dir, FOLDER)
    await mkdir(join(folder, 'old'), { recursive: true })
    await copyFile(SCRIPT, join(folder, 'adopt-box.sh'))
    await writeFile(join(folder, 'list'), '0 0644 /etc/rc.conf\n')
    await writeFile(join(folder, 'old/0'), OLD['etc/rc.conf'])
    await writeFile(join(dir, 'etc/rc.conf'), 'hostname="new"\n')
    for (const name of ['armed', 'confirmed']) await writeFile(join(folder, name), '')
    await mkdir(join(folder, 'decided'))
  })

const step = (words: string) => `/bin/sh ${FOLDER}/adopt-box.sh ${FOLDER} ${words}`

/** Runs it on the machine, by the way in that stands; throws what it said. */
const on = async (box: Sandbox, command: string): Promise<void> => {
  const { code, stdout, stderr } = await box.oldWay(command)
  assert.equal(code, 0, stdout + stderr)
}

/** Its old files stand again, and it has started this often. */
const comesBack = async (box: Sandbox, starts: number): Promise<void> => {
  for (let i = 0; i < 300 && !(await exists(join(box.dir, FOLDER, 'undone'))); i += 1) await sleep(100)
  assert.equal(await box.file('/etc/rc.conf'), OLD['etc/rc.conf'])
  const wanted = 'reboot\n'.repeat(starts)
  for (let i = 0; i < 50 && (await box.file('/root/.starts')) !== wanted; i += 1) await sleep(100)
  assert.equal(await box.file('/root/.starts'), wanted)
}

test(
  'on a read-only root it is set again, fires after the start, brings the old files back and restarts',
  { skip },
  async (t) => {
    const box = await changedMachine(t)
    await on(box, "sed 's/rw/ro/' /etc/fstab >/etc/new && mv /etc/new /etc/fstab && mount -ur /")
    assert.equal((await box.oldWay('touch /root/x')).code, 1)
    await on(box, step('restart 1'))
    await comesBack(box, 2)
    assert.equal(await box.file('/etc/rc.local'), undefined)
  },
)

test(
  'an rc.local that ends early does not keep it from starting, and stays as it was, with its mode',
  { skip },
  async (t) => {
    const box = await changedMachine(t)
    const local = join(box.dir, 'etc/rc.local')
    const [text, mode] = ['echo secret >/dev/null\nexit 0\n', 0o600]
    await on(box, `printf '${text.replaceAll('\n', '\\n')}' >/etc/rc.local && chmod 600 /etc/rc.local`)
    await on(box, step('restart 1'))
    assert.equal((await stat(local)).mode & 0o777, mode)
    await comesBack(box, 2)
    assert.equal(await box.file('/etc/rc.local'), text)
    assert.equal((await stat(local)).mode & 0o777, mode)
  },
)

for (const [what, flag] of [
  ['cannot be asked for', '.fail-shutdown'],
  ['never comes', '.deaf-shutdown'],
] as const)
  test(
    `a restart that ${what} leaves nothing for a later start: the run is confirmed again`,
    { skip },
    async (t) => {
      const box = await changedMachine(t)
      await writeFile(join(box.dir, 'root', flag), '')
      await on(box, step('restart 300 1'))
      for (let i = 0; i < 100 && (await box.file('/etc/rc.local')) !== undefined; i += 1) await sleep(100)
      assert.equal(await box.file('/etc/rc.local'), undefined)
      for (const name of ['confirmed', 'decided']) assert.ok(await exists(join(box.dir, FOLDER, name)), name)
      assert.equal(await box.file('/etc/rc.conf'), 'hostname="new"\n')
      await on(box, step('confirm'))
    },
  )

describe('a start after the power was cut while the old files were brought back', { skip }, () => {
  const cutOff = async (t: TestContext): Promise<Sandbox> => {
    const box = await changedMachine(t)
    await rm(join(box.dir, FOLDER, 'confirmed'))
    const line = `${step('guard-boot 1')} </dev/null >/dev/null 2>&1 &\n`
    await writeFile(join(box.dir, 'etc/rc.local'), line)
    return box
  }
  test('brings them back', async (t) => {
    const box = await cutOff(t)
    await on(box, '/bin/sh /etc/rc.local')
    await comesBack(box, 1)
    assert.equal(await box.file('/etc/rc.local'), undefined)
  })
  test('tries it again at the next one, if it fails', async (t) => {
    const box = await cutOff(t)
    await appendFile(join(box.dir, FOLDER, 'list'), '1 0644 /root/folder/file\n')
    await writeFile(join(box.dir, FOLDER, 'old/1'), '')
    assert.equal((await box.oldWay(`${step('guard-boot 1')} 2>&1`)).code, 1)
    assert.equal(await exists(join(box.dir, FOLDER, 'undone')), false)
    await mkdir(join(box.dir, 'root/folder'))
    await on(box, '/bin/sh /etc/rc.local')
    await comesBack(box, 1)
  })
})
