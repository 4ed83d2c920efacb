import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { startSession, type Session } from '../../../provision/runtime/session.ts'
import { trackProgress } from '../../../provision/runtime/stream-progress.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { codeOf, failureAt, fakeBox, HELLO, ignore, key, limitsOf } from '../../support/fake-box.ts'
import { READY, receive, sender } from '../../support/sender.ts'

/** How a stream fails: script of the sender, of the box, and what the owner is told. */
type Case = readonly [string, string, readonly string[], string, RegExp]

const FAILURES: readonly Case[] = [
  [
    'a send that fails half way is send-failed, with its words; the box’s verdict on the half is not the reason (facts 11.2)',
    'head -c 50000 /dev/zero; echo "warning: cannot send wd@a: Input/output error" >&2; exit 1',
    ['drain', 'say failed receive incomplete stream', 'say locked'],
    'send-failed',
    /exit 1.*Input\/output error/s,
  ],
  [
    'a send that fails before its first byte is send-failed',
    'echo "cannot open wd@a: dataset does not exist" >&2; exit 1',
    ['drain', 'say failed receive failed to read from stream', 'say locked'],
    'send-failed',
    /does not exist/,
  ],
  [
    'a send that fails is send-failed though the box took all of it for whole',
    'head -c 1000 /dev/zero; exit 1',
    ['take 1000', 'say ok 5', 'drain', 'say locked'],
    'send-failed',
    /exit 1/,
  ],
  [
    'a send that was killed is send-failed',
    'head -c 50000 /dev/zero; kill -KILL $$',
    ['drain', 'say failed receive incomplete stream', 'say locked'],
    'send-failed',
    /SIGKILL/,
  ],
  [
    'a send that fails, and a box that says nothing of it, is send-failed',
    'exit 1',
    ['drain', 'say locked'],
    'send-failed',
    /exit 1/,
  ],
  [
    'a send that fails, and a box that dies of it, is send-failed',
    'exit 1',
    ['drain', 'exit 255'],
    'send-failed',
    /exit 1/,
  ],
  [
    'a receive that fails while the sender writes on is receive-failed (S1)',
    'exec yes',
    ['take 100000', 'say failed receive destination has been modified', 'say locked'],
    'receive-failed',
    /destination has been modified/,
  ],
  [
    'a receive that fails on a box that neither reads on nor closes is receive-failed at once',
    'exec yes',
    ['take 100000', 'say failed receive cannot receive', 'say locked', 'sleep 1', 'drain'],
    'receive-failed',
    /cannot receive/,
  ],
  [
    'a full box is no-space',
    'exec yes',
    ['take 100000', 'say failed space out of space', 'drain', 'say locked'],
    'no-space',
    /out of space/,
  ],
  [
    'a sender that sees the broken pipe itself does not hide the box’s reason',
    "trap '' PIPE; cat /dev/zero; exit 1",
    ['take 100000', 'raw failed receive', 'sleep 0.3', 'say  no child processes'],
    'receive-failed',
    /no child processes/,
  ],
  [
    'a sender that is ended by the broken pipe before the box has said why does not hide the reason',
    'while :; do echo x; sleep 0.05; done',
    ['take 4', 'close', 'sleep 0.5', 'say failed receive no child processes'],
    'receive-failed',
    /no child processes/,
  ],
  [
    'a connection that breaks in mid-stream is connection-lost',
    'exec yes',
    ['take 100000', 'exit 255'],
    'connection-lost',
    /broke while it received wd/,
  ],
  [
    'a connection that breaks after the last byte, before the verdict, is connection-lost',
    'head -c 1000 /dev/zero',
    ['take 1000', 'exit 255'],
    'connection-lost',
    /broke while it received wd/,
  ],
]

describe('a stream', { concurrency: 4 }, () => {
  for (const [title, script, box, code, text] of FAILURES)
    test(title, async (t) => {
      const { argv, gone } = await sender(t, script)
      const started = Date.now()
      const { error, final } = await failureAt([...READY, ...box], receive(argv), limitsOf(30))
      assert.equal(codeOf(error), code, String(error))
      assert.ok(knoxError('left-unlocked' === code ? 'failed' : (code as 'send-failed'), text)(error))
      assert.equal(codeOf(final), code)
      assert.ok(await gone(), 'the sender still runs')
      assert.ok(Date.now() - started < 10_000)
    })

  test('without zfs on this machine is send-failed, and says so', async () => {
    const { error } = await failureAt(
      [...READY, 'drain', 'say failed receive x', 'say locked'],
      receive(['/nonesuch/zfs']),
    )
    assert.ok(knoxError('send-failed', /ENOENT/)(error))
  })

  test('that the box says it has before it was sent is not believed until it is', async (t) => {
    const { argv, gone } = await sender(t, 'head -c 100000 /dev/zero; sleep 0.5; head -c 100000 /dev/zero')
    const session = await startSession(
      fakeBox(...READY, 'say ok 5', 'take 200000', 'drain', 'say locked'),
      'knox',
      limitsOf(20),
    )
    assert.equal(await session.receive('full', 'wd', argv, ignore), '5')
    assert.ok(await gone())
    await session.abandon(undefined)
    // and not at all from a box that does not read it
    const early = await failureAt([...READY, 'say ok 5', 'silence'], receive(['yes']), {
      ...limitsOf(20),
      stalled: 0.5,
    })
    assert.ok(['send-failed', 'connection-lost'].includes(String(codeOf(early.error))), String(early.error))
  })
})

describe('the key', () => {
  const waits = [HELLO, 'hear unlock', 'say waiting']

  test('is sent only when the box waits for it (S6, facts 11.3)', async () => {
    let sent = 0
    const sendKey = () => {
      sent += 1
      return key()()
    }
    for (const answer of ['say failed disk there is no disk da0', 'say unlocked', 'exit 1'])
      await failureAt([HELLO, 'hear unlock', answer, 'drain', 'say locked'], (s) => s.unlock(sendKey))
    assert.equal(sent, 0)
  })

  test('that could not be brought is told by what ssh said; the box only knows that none came (facts 11.6)', async () => {
    const noKey = [...waits, 'say failed key no key came within 60 seconds', 'drain', 'say locked']
    const cases = [
      [255, 'ssh: connect to host x port 22: Connection refused', 'unreachable'],
      [255, 'Host key verification failed.', 'key-rejected'],
      [255, 'strange', 'unreachable'],
      [1, 'failed key nobody waits for a key', 'key-rejected'],
      [255, '', 'connection-lost'],
      [null, '', 'connection-lost'],
      [0, '', 'key-rejected'],
    ] as const
    for (const [exit, stderr, code] of cases) {
      const { error } = await failureAt(noKey, (s) => s.unlock(key(exit, stderr)))
      assert.equal(codeOf(error), code, stderr)
    }
    const { error } = await failureAt(noKey, (s) => s.unlock(key(255, 'Host key verification failed.')))
    assert.ok(knoxError('key-rejected', /another host key/)(error))
  })

  test('that was not sent is not waited for; one that was may be slow', async () => {
    const limits = { ...limitsOf(20), closing: 1 }
    const cut = [...waits, 'sleep 15', 'say failed key no key came within 60 seconds', 'say locked']
    const cases = [
      [null, '', 'connection-lost'],
      [1, '', 'connection-lost'],
      [255, 'ssh: connect to host x port 22: Connection refused', 'unreachable'],
    ] as const
    for (const [exit, stderr, code] of cases) {
      const started = Date.now()
      const { error } = await failureAt(cut, (s) => s.unlock(key(exit, stderr)), limits)
      assert.equal(codeOf(error), code)
      assert.ok(Date.now() - started < 10_000)
    }
    const slow = fakeBox(...waits, 'sleep 3', 'say unlocked', 'hear bye', 'say locked')
    const session = await startSession(slow, 'knox', limits)
    await session.unlock(key())
    await session.bye()
    // its connection ended badly, but it had come
    const late = fakeBox(...waits, 'say unlocked', 'sleep 3', 'hear bye', 'say locked')
    const other = await startSession(late, 'knox', limits)
    await other.unlock(() => new Promise((resolve) => setTimeout(() => resolve(key(1)()), 500)))
    await other.bye()
  })

  test('that is wrong is key-rejected, though its connection went well', async () => {
    const { error, final } = await failureAt(
      [...waits, 'say failed key geli: Wrong key for da0.', 'drain', 'say locked'],
      (s) => s.unlock(key()),
    )
    assert.ok(knoxError('key-rejected', /Wrong key for da0.*geli\.key/s)(error))
    assert.equal(codeOf(final), 'key-rejected')
  })

  test('that cannot be read at home ends the session', async () => {
    const call = (s: Session) => s.unlock(() => Promise.reject(new Error('no key file')))
    const { error } = await failureAt(
      [...waits, 'drain', 'say failed key none came', 'say locked'],
      call,
      limitsOf(1),
    )
    assert.match(String(error), /no key file/)
  })
})

describe('the list of the box', { concurrency: 4 }, () => {
  const list = (...lines: readonly string[]) =>
    thrownBy(() =>
      failureAt(
        [HELLO, 'hear list', ...lines.map((line) => `say ${line}`), 'say end', 'drain', 'say locked'],
        (s) => s.list(),
      ).then(({ error }) => {
        throw error
      }),
    )

  test('must begin with its pool, and numbers must be numbers', async () => {
    for (const first of [
      'wd|filesystem|1|1',
      'wd|pool|77',
      'wd|pool|x|1|2',
      'wd|pool|77|1.5T|2',
      'wd|pool|77|-|-',
      'wd|pool|77|1|2|3|4|5',
      '|pool|77|1|2',
      'w\u009bd|pool|77|1|2',
    ])
      assert.ok(knoxError('verification', /begin with its pool/)(await list(first)), first)
  })

  test('is refused as a whole for one broken line', async () => {
    for (const line of ['wd|filesystem|1', 'wd/\u001b[2J|filesystem|1|1', 'wd@a|filesystem|1|1'])
      assert.ok(
        knoxError('verification', /not understood/)(await list('wd|pool|77|1|2', 'wd|filesystem|1|1', line)),
        line,
      )
  })
})

describe('the progress of a stream', () => {
  test('is the sum over its snapshots, however its lines are cut', () => {
    const text =
      'full\twd@a\t9\nincremental\ta\twd@b c\n12:00:01\t400\twd@a\n12:00:02\t900\twd@a\n12:00:03\t50\twd@b c\n12:00:04\t70\twd@b c\n'
    for (let size = 1; size <= text.length; size += 1) {
      const seen: number[] = []
      const { read, snapshots } = trackProgress(({ bytes }) => seen.push(bytes))
      for (let at = 0; at < text.length; at += size) read(text.slice(at, at + size))
      assert.deepEqual(seen, [400, 900, 950, 970], String(size))
      assert.equal(snapshots(), 2)
    }
  })
})
