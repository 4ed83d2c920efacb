import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rename } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { readReceipt } from '../../provision/runtime/receipt.ts'
import { snapback } from '../../scripts/snapback.ts'
import { writeProgram } from '../support/expect.ts'
import { HELLO } from '../support/fake-box.ts'
import { homeBehind, listed, type StubHome } from '../support/stub-home.ts'
import { show } from '../support/terminal.ts'

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const FULL = `cannot create snapshot 'wd/vm@x': out of space\nno snapshots were created`
const SENT = [
  ...[HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked', ...listed('bk: a=1')],
  ...['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2', ...listed('bk: a=1 b=2')],
  ...['hear bye', 'say locked'],
]

/** A home with a snapshot that the box lacks, and a zfs whose `snapshot` does this. */
const homeWhose = async (t: TestContext, snapshot: string): Promise<StubHome> => {
  const home = await homeBehind(t)
  const bin = join(home.dir, 'bin')
  await rename(join(bin, 'zfs'), join(bin, 'zfs-else'))
  await writeProgram(
    bin,
    'zfs',
    `if [ "$1" = snapshot ]; then ${snapshot}; fi; exec "$(dirname "$0")/zfs-else" "$@"`,
  )
  return home
}

const refusing = (stderr: string) => `cat >&2 <<'END'\n${stderr}\nEND\nexit 1`

const run = (home: StubHome) => show([snapback], 'snapback', '--config', join(home.dir, 'knox.yaml'))

const sessions = async (home: StubHome) => (await home.calls()).filter((call) => call.startsWith('ssh'))

const newestProved = async (home: StubHome) => (await readReceipt(home.folder))?.datasets[0]?.newest?.name

describe('snapback where zfs takes no snapshot', () => {
  for (const [why, stderr, message] of [
    ['for want of room', FULL, /no room for a snapshot/],
    ['for a reason of its own', 'internal error: out of memory', /a command failed/],
  ] as const)
    test(`${why} sends what is there all the same, and ends with 1`, async (t) => {
      const home = await homeWhose(t, refusing(stderr))
      await home.box(SENT)
      const { code, stdout, stderr: said } = await run(home)
      assert.equal(code, 1, said)
      assert.match(stdout, /^1 streams, .*1 datasets proved/)
      assert.equal(await newestProved(home), 'b')
      const [warning = '', ...more] = said.split('\n').filter((line) => message.test(line))
      assert.match(warning, /^knox: warning: .*what was taken before is sent all the same/)
      assert.equal(more.length, 1)
    })

  test('for want of room says that the dataset may be excluded, and what zfs said', async (t) => {
    const home = await homeWhose(t, refusing(FULL))
    await home.box(SENT)
    const { stderr } = await run(home)
    assert.match(stderr, /warning: .*home\.exclude.*wd\/vm@x/s)
    assert.match(stderr, /hint: .*home\.exclude.*\n.*wd\/vm@x/)
  })

  test('ends as the sending does, where that fails too', async (t) => {
    const home = await homeWhose(t, refusing(FULL))
    await home.box(['err ssh: connect to host: Connection refused', 'exit 255'])
    const { code, stderr } = await run(home)
    assert.equal(code, 10, stderr)
    assert.match(stderr, /warning: the pool at home has no room/)
  })

  for (const [why, stderr, exit] of [
    ['the pool is missing', "cannot open 'wd': no such pool", 3],
    ['zfs does not let this user', 'cannot create snapshots : permission denied', 15],
  ] as const)
    test(`since ${why} ends at once`, async (t) => {
      const home = await homeWhose(t, refusing(stderr))
      await home.box(SENT)
      const { code, stderr: said } = await run(home)
      assert.equal(code, exit, said)
      assert.deepEqual(await sessions(home), [])
    })

  test('since the owner stopped it ends at once', async (t) => {
    const home = await homeWhose(t, 'kill -INT $PPID; exec sleep 30')
    await home.box(SENT)
    const child = spawn(process.execPath, [KNOX, 'snapback'], {
      ...{ cwd: home.dir, env: { ...process.env, HOME: home.dir } },
      ...{ stdio: ['ignore', 'ignore', 'pipe'], timeout: 30_000 },
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const [code] = (await once(child, 'close')) as [number | null]
    assert.equal(code, 130, stderr)
    assert.doesNotMatch(stderr, /warning/)
    assert.deepEqual(await sessions(home), [])
  })
})
