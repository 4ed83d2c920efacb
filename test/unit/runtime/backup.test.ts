import assert from 'node:assert/strict'
import { chmod, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { backup, type BackupOptions } from '../../../provision/runtime/backup.ts'
import { readReceipt } from '../../../provision/runtime/receipt.ts'
import { beginDisk, isUnfinished } from '../../../provision/runtime/unfinished-disk.ts'
import type { Disk } from '../../../provision/tools/disk.ts'
import { knoxError, writeProgram } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind, KEY, listed, remember, type StubHome } from '../../support/stub-home.ts'

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const BYE = ['hear bye', 'say locked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
const DISK: Disk = {
  ...{ name: 'da0', description: 'WD', serial: 'X1', bytes: 2e12, sectorBytes: 512 },
  ...{ inUse: false, contents: 'blank' },
}
const PLAIN: BackupOptions = { prove: false, accept: new Set() }

const run = (home: StubHome, options: Partial<BackupOptions> = {}, emit: (event: Event) => void = ignore) =>
  backup(home.config, { ...PLAIN, ...options }, emit)

const callsOf = async (home: StubHome, pattern: RegExp) =>
  (await home.calls()).filter((call) => pattern.test(call))

/** Nothing was recorded, and nothing is left: the lock is gone and the receipt is the old one. */
const isUnproved = async (home: StubHome) => {
  assert.equal((await readReceipt(home.folder))?.datasets[0]?.newest?.guid, '1')
  assert.ok(!(await readdir(home.folder)).includes('lock'))
}

describe('a backup', () => {
  test('that goes well sends, looks, sees the disk locked, and only then keeps the receipt', async (t) => {
    const home = await homeBehind(t)
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...listed('bk: a=1 b=2'), ...BYE])
    const events: Event[] = []
    const report = await run(home, {}, (event) => events.push(event))
    assert.deepEqual([report.outcome, report.streams, report.delivered, report.problems], ['sent', 1, 1, []])
    assert.deepEqual(await readReceipt(home.folder), report.receipt)
    assert.equal(report.receipt.datasets[0]?.newest?.guid, '2')
    assert.deepEqual(await home.keySent(), KEY)
    assert.equal((await callsOf(home, /^ssh /)).length, 2)
    assert.deepEqual(await callsOf(home, /^zfs send -P/), ['zfs send -P -v -p -I @a wd@b'])
    const shown = JSON.stringify(events)
    for (const form of ['hex', 'base64', 'latin1'] as const)
      assert.ok(!shown.includes(KEY.toString(form).slice(0, 20)))
  })

  test('holds at home what the box goes on from, before the first byte: a run that is cut off leaves it held', async (t) => {
    const home = await homeBehind(t)
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT.slice(0, 2), 'take 500', 'exit 255'])
    await assert.rejects(run(home), knoxError('connection-lost'))
    const calls = (await home.calls()).map((call) => call.replace(/^(zfs \S+ \S+).* (\S+ \S+)$/, '$1 $2'))
    assert.deepEqual(calls.slice(-2), ['zfs hold knox:knox wd@a wd@b', 'zfs send -P @a wd@b'])
  })

  test('with nothing to send asks only whether the box lives: no key travels, one connection, one zfs (facts 11.16)', async (t) => {
    const home = await homeBehind(t)
    await remember(home, 'bk: a=1 b=2')
    await home.box([HELLO, ...BYE])
    const { outcome, delivered } = await run(home)
    assert.deepEqual([outcome, delivered, await home.keySent()], ['nothing-to-send', 1, undefined])
    assert.equal((await home.calls()).length, 2)
  })

  test('looks at the box again although nothing is to be sent, where the last proof does not hold', async (t) => {
    const again = [...UNLOCK, ...listed('bk: a=1 b=2'), ...BYE]
    const cases: readonly (readonly [
      string,
      (home: StubHome) => Promise<void>,
      Partial<BackupOptions>,
      string,
    ])[] = [
      ['--prove', ignoreHome, { prove: true }, HELLO],
      ['a proof of last week', (home) => remember(home, 'bk: a=1 b=2', 'knox', 8 * 86_400), {}, HELLO],
      [
        'a proof of tomorrow: a clock was set back',
        (home) => remember(home, 'bk: a=1 b=2', 'knox', -86_400),
        {},
        HELLO,
      ],
      ['the proof of another box', (home) => remember(home, 'bk: a=1 b=2', 'attic'), {}, HELLO],
      ['a disk that is not locked', ignoreHome, {}, 'say knox 1 knox unlocked'],
      ['a damaged receipt (S3)', (home) => writeFile(join(home.folder, 'receipt.json'), ''), {}, HELLO],
      ['no receipt (S7)', (home) => rm(join(home.folder, 'receipt.json')), {}, HELLO],
    ]
    for (const [title, change, options, hello] of cases) {
      const home = await homeBehind(t)
      await remember(home, 'bk: a=1 b=2')
      await change(home)
      await home.box([hello, ...again])
      const report = await run(home, options)
      assert.deepEqual([report.outcome, report.streams, await home.keySent()], ['sent', 0, KEY], title)
      assert.equal((await readReceipt(home.folder))?.box, 'knox')
    }
  })

  test('goes by what the box lists, not by what the receipt says', async (t) => {
    const home = await homeBehind(t)
    await remember(home, 'bk: a=1 b=2')
    const full = ['hear receive|full|bk', 'say ready', 'take 1000', 'say ok 1']
    await home.box([HELLO, ...UNLOCK, ...listed('bk:'), ...full, ...SENT, ...listed('bk: a=1 b=2'), ...BYE])
    assert.equal((await run(home, { prove: true })).streams, 2)
  })

  test('with a dataset that went another way brings the others, and names it', async (t) => {
    const home = await homeBehind(t)
    await home.zfs('wd: a=1 b=2', 'wd/x: c=3')
    await home.box([
      HELLO,
      ...UNLOCK,
      ...listed('bk: a=1', 'bk/x: d=4'),
      ...SENT,
      ...listed('bk: a=1 b=2', 'bk/x: d=4'),
      ...BYE,
    ])
    const { delivered, problems } = await run(home)
    assert.deepEqual(
      [delivered, problems.map(({ dataset, kind }) => [dataset, kind])],
      [1, [['wd/x', 'diverged']]],
    )
  })

  test('takes a disk that opened for finished: it may hold a backup, and is never begun anew by itself', async (t) => {
    const home = await homeBehind(t)
    const disk = { ...DISK, contents: 'geli' as const }
    const shell = { read: () => Promise.reject(new Error('nothing is read')) }
    await beginDisk(home.folder, disk)
    await home.box([
      HELLO,
      'hear unlock',
      'say waiting',
      'sleep 0.2',
      'say failed key no',
      'drain',
      'say locked',
    ])
    await run(home).catch(ignore)
    assert.equal(await isUnfinished(shell, home.folder, disk), true)
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...listed('bk: a=1 b=2'), ...BYE])
    await run(home)
    assert.equal(await isUnfinished(shell, home.folder, disk), false)
  })

  test('tries each address in turn, and says why the first did not do', async (t) => {
    const home = await homeBehind(t, ['192.0.2.1', '"[2001:db8::1]:2222"'])
    await home.box(['err ssh: connect to host 192.0.2.1 port 22: No route to host', 'exit 255'], '192.0.2.1')
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...listed('bk: a=1 b=2'), ...BYE])
    const notes: string[] = []
    await run(home, {}, (event) => event.type === 'note' && notes.push(event.text))
    assert.match(notes.join(), /192\.0\.2\.1 port 22: the box does not answer/)
    assert.match((await callsOf(home, /knox-fifo$/)).join(), /HostName=2001:db8::1 -p 2222 knox-fifo$/)
  })
})

const ignoreHome = () => Promise.resolve()

describe('a backup that fails is never recorded as a success', () => {
  const begin = [HELLO, ...UNLOCK, ...listed('bk: a=1')]
  type Failure = readonly [string, readonly string[], Parameters<typeof knoxError>[0], RegExp]
  const failures: readonly Failure[] = [
    [
      'the receive fails, though the export goes well (S1, facts 11.1)',
      [...begin, ...SENT.slice(0, 2), 'take 1000', 'say failed receive no', 'say locked', 'exit 0'],
      'receive-failed',
      /no/,
    ],
    [
      'the box lies: all is ok, and its list lacks the snapshot (S1)',
      [...begin, ...SENT, ...listed('bk: a=1'), ...BYE],
      'verification',
      /does not list what was sent: wd@b/,
    ],
    [
      'the box lists a snapshot of the same name with another guid',
      [...begin, ...SENT, ...listed('bk: a=1 b=666'), ...BYE],
      'verification',
      /wd@b/,
    ],
    [
      'the box does not say that it is locked',
      [...begin, ...SENT, ...listed('bk: a=1 b=2'), 'hear bye', 'exit 0'],
      'connection-lost',
      /locked/,
    ],
    [
      'the box says that it cannot lock',
      [...begin, ...SENT, ...listed('bk: a=1 b=2'), 'hear bye', 'say failed lock da0', 'exit 3'],
      'left-unlocked',
      /da0/,
    ],
    [
      'the connection breaks while it looks',
      [...begin, ...SENT, 'hear list', 'exit 255'],
      'connection-lost',
      /listed/,
    ],
    [
      'the key is wrong',
      [HELLO, 'hear unlock', 'say waiting', 'say failed key geli: Wrong key for da0.', 'drain', 'say locked'],
      'key-rejected',
      /Wrong key/,
    ],
    [
      'the disk is full',
      [...begin, ...SENT.slice(0, 2), 'take 1000', 'say failed space out of space', 'drain', 'say locked'],
      'no-space',
      /out of space/,
    ],
    [
      'the disk is gone',
      [
        HELLO.replace('locked', 'missing'),
        'hear unlock',
        'say failed disk there is no disk da0',
        'drain',
        'say locked',
      ],
      'disk',
      /no disk da0/,
    ],
    ['the box is busy', ['say failed busy another session', 'exit 75'], 'busy', /another session/],
    [
      'the box does not answer',
      ['err ssh: connect to host x port 22: Connection refused', 'exit 255'],
      'unreachable',
      /does not answer/,
    ],
    [
      'the pool is another one than at the last proof',
      [
        HELLO,
        ...UNLOCK,
        'hear list',
        'say bk|pool|78|1|2',
        'say bk|filesystem|1|1',
        'say end',
        'drain',
        'say locked',
      ],
      'diverged',
      /--accept-new-pool/,
    ],
  ]
  for (const [title, box, code, text] of failures)
    test(title, async (t) => {
      const home = await homeBehind(t)
      await home.box(box)
      await assert.rejects(run(home), knoxError(code, text))
      await isUnproved(home)
    })

  test('zfs send fails (facts 11.2)', async (t) => {
    const home = await homeBehind(t)
    await home.file('send', 'head -c 500 /dev/zero; echo "cannot send: I/O error" >&2; exit 1\n')
    await home.box([...begin, ...SENT.slice(0, 2), 'drain', 'say failed receive incomplete', 'say locked'])
    await assert.rejects(run(home), knoxError('send-failed', /I\/O error.*the box has locked its disk/s))
    await isUnproved(home)
  })

  test('the connection of the key fails (facts 11.6)', async (t) => {
    const home = await homeBehind(t)
    await home.file('fifo', '255')
    await home.box([
      HELLO,
      'hear unlock',
      'say waiting',
      'sleep 0.2',
      'say failed key no key came',
      'drain',
      'say locked',
    ])
    await assert.rejects(run(home), knoxError('connection-lost', /while the key was sent/))
    await isUnproved(home)
  })

  test('a program is missing: nothing is sent without it (S2, facts 11.13)', async (t) => {
    const home = await homeBehind(t)
    await rm(join(home.dir, 'bin', 'zfs'))
    await writeProgram(join(home.dir, 'bin'), 'zfs', 'exec /nonesuch/zfs "$@"')
    await assert.rejects(run(home), knoxError('platform', /zfs is not installed here/))
    await isUnproved(home)
    assert.deepEqual(await callsOf(home, /^ssh/), [])
  })

  test('another knox is at work here (S7)', async (t) => {
    const home = await homeBehind(t)
    await home.box([
      HELLO,
      'sleep 1',
      ...UNLOCK,
      ...listed('bk: a=1'),
      ...SENT,
      ...listed('bk: a=1 b=2'),
      ...BYE,
    ])
    const first = run(home)
    await new Promise((resolve) => setTimeout(resolve, 500))
    await assert.rejects(run(home), knoxError('busy', /another knox/))
    assert.equal((await first).outcome, 'sent')
    assert.equal((await callsOf(home, /^ssh/)).length, 2)
  })

  test('keys are missing, or readable by others: no key travels', async (t) => {
    const home = await homeBehind(t)
    await home.box([HELLO, 'hear unlock', 'say waiting', 'drain', 'say failed key none', 'say locked'])
    await chmod(join(home.folder, 'geli.key'), 0o644)
    await assert.rejects(run(home), knoxError('config', /chmod 600/))
    await rm(join(home.folder, 'geli.key'))
    await assert.rejects(run(home), knoxError('config', /disk key is missing/))
    await rm(join(home.folder, 'ssh_host_ed25519_key.pub'))
    await assert.rejects(run(home), knoxError('config', /keys init/))
    assert.equal(await home.keySent(), undefined)
    await isUnproved(home)
  })
})
