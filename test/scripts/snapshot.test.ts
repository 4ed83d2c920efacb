import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { writeProgram } from '../support/expect.ts'
import { HELLO } from '../support/fake-box.ts'
import { listed, remember, stubHome, type StubHome } from '../support/stub-home.ts'

/** Snapshots of a home where something is being restored. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')

const knox = (home: StubHome, ...words: string[]) =>
  spawnSync(process.execPath, [KNOX, ...words], {
    cwd: home.dir,
    env: { ...process.env, HOME: home.dir, PATH: home.path },
    encoding: 'utf8',
    timeout: 60_000,
  })

const homeRestoring = async (t: TestContext, target: string): Promise<StubHome> => {
  const home = await stubHome(t)
  await home.zfs('wd: a=1 b=2')
  await remember(home, 'bk: a=1')
  const restores = [{ source: 'bk/photos', target }]
  await writeFile(join(home.folder, 'restoring.json'), JSON.stringify({ version: 1, restores }))
  return home
}

describe('a restore under way', () => {
  test('gets no snapshots, and each run says so and how to finish it', async (t) => {
    const home = await homeRestoring(t, 'wd/again')
    const names = ['wd', 'wd/again', 'wd/again/old', 'wd/again-not']
    await writeProgram(
      join(home.dir, 'bin'),
      'zfs',
      `echo "zfs $*" >>calls; case $1 in list) printf '%s\\n' ${names.join(' ')} ;; esac`,
    )
    const { status, stderr } = knox(home, 'snapshot')
    assert.equal(status, 0, stderr)
    assert.match((await home.calls()).at(-1) ?? '', /^zfs snapshot wd@\S+Z wd\/again-not@\S+Z$/)
    assert.match(stderr, /warning: wd\/again is being restored and gets no snapshots/)
    assert.match(stderr, /knox restore wd\/photos --to wd\/again; .*rm \S+\/restoring\.json/)
  })

  test('that is all of the pool leaves nothing to take one of, and the backup goes on', async (t) => {
    const home = await homeRestoring(t, 'wd')
    const unlock = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
    const send = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
    const end = [...listed('bk: a=1 b=2'), 'hear bye', 'say locked']
    await home.box([HELLO, ...unlock, ...listed('bk: a=1'), ...send, ...end])
    const zfs = await readFile(join(home.dir, 'bin', 'zfs'), 'utf8')
    await writeFile(
      join(home.dir, 'bin', 'zfs'),
      zfs.replace('case "$*" in', `case "$*" in\n  'list -H '*) echo wd ;;`),
    )
    const { status, stderr } = knox(home, 'snapback')
    // not silent: a restore that nobody finishes would keep it from the box for ever
    assert.equal(status, 5, stderr)
    assert.match(
      stderr,
      /wd is being restored[^]*no snapshot was taken[^]*disk is locked[^]*error: being restored, and therefore not backed up: wd\n/,
    )
    assert.ok(!(await home.calls()).some((call) => call.startsWith('zfs snapshot')))
  })

  test('into another pool changes nothing', async (t) => {
    const home = await homeRestoring(t, 'new/again')
    const { stderr } = knox(home, 'snapshot', '--dry-run')
    assert.match(stderr, /would run: zfs snapshot -r wd@/)
    assert.doesNotMatch(stderr, /restored/)
  })
})
