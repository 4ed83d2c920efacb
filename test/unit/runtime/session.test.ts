import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { ErrorCode } from '../../../provision/core/errors.ts'
import { startSession } from '../../../provision/runtime/session.ts'
import { openChannel } from '../../../provision/system/process.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import {
  codeOf,
  failureAt,
  fakeBox,
  HELLO,
  ignore,
  INVENTORY,
  key,
  limitsOf,
  POINTS,
  stream,
} from '../../support/fake-box.ts'

/** what the box can give as its reason, and the error it is to the owner */
const REASONS: readonly (readonly [string, ErrorCode])[] = [
  ['busy', 'busy'],
  ['key', 'key-rejected'],
  ['disk', 'disk'],
  ['pool', 'disk'],
  ['receive', 'receive-failed'],
  ['space', 'no-space'],
  ['refused', 'receive-failed'],
  ['usage', 'failed'],
  ['lock', 'left-unlocked'],
  ['mars', 'failed'],
  ['constructor', 'failed'],
]

describe('a session', () => {
  test('that goes well: unlock, list, a place, a rename, streams and bye', async () => {
    const channel = fakeBox(
      ...[HELLO, 'hear unlock', 'say waiting', 'sleep 0.1', 'say unlocked'],
      ...['hear list', ...INVENTORY, 'hear place|wd/a b', 'say ok', 'hear rename|wd/x|wd/y', 'say ok'],
      ...['hear receive|full|wd/a b', 'say ready', 'take 3000000', 'say ok 11'],
      ...['hear receive|incremental|wd/a b', 'say ready', 'take 0', 'say ok 18446744073709551615'],
      ...['hear list', ...INVENTORY, 'hear bye', 'drain', 'say locked'],
    )
    const session = await startSession(channel, 'knox', limitsOf(20))
    assert.equal(session.disk, 'locked')
    let keys = 0
    const sendKey = () => {
      keys += 1
      return key()()
    }
    await session.unlock(sendKey)
    const { pool, datasets } = await session.list()
    assert.deepEqual(pool, { name: 'wd', guid: '77', used: 1000, available: 2000, disk: '', trouble: '' })
    assert.deepEqual(
      datasets.map(({ name, snapshots }) => [name, snapshots.length]),
      [['wd', 1]],
    )
    await session.place('wd/a b')
    await session.rename('wd/x', 'wd/y')
    assert.equal(await session.receive('full', 'wd/a b', stream(3_000_000), ignore), '11')
    assert.equal(await session.receive('incremental', 'wd/a b', stream(0), ignore), '18446744073709551615')
    await session.list()
    await session.bye()
    assert.equal(keys, 1)
    assert.deepEqual([(await channel.ended).exitCode, (await channel.ended).stderr], [0, ''])
  })

  test('tells the state of the disk; a word it does not know counts as missing', async () => {
    for (const [said, state] of [
      ['locked', 'locked'],
      ['unlocked', 'unlocked'],
      ['missing', 'missing'],
      ['maybe', 'missing'],
    ] as const) {
      const session = await startSession(fakeBox(`say knox 1 knox ${said}`, 'hear bye', 'say locked'), 'knox')
      assert.equal(session.disk, state)
      await session.bye()
    }
  })

  test('tells its progress over all snapshots of a stream, however the lines come', async () => {
    const channel = fakeBox(HELLO, 'hear receive|full|wd', 'say ready', 'drain', 'say ok 1', 'say locked')
    const session = await startSession(channel, 'knox', limitsOf(20))
    const seen: number[] = []
    const words = [
      'full\twd@a\t1000\n12:00:01\t4',
      '00\twd@a',
      '\n12:00:02\t900\twd@a\n12:00:03\t50\twd',
      '@b\n12:00:04\t70\twd@b\n',
    ]
    const script = words.map((word) => `printf '${word}' >&2; sleep 0.1`).join('; ')
    const received = session.receive('full', 'wd', ['sh', '-c', script], ({ bytes }) => seen.push(bytes))
    received.catch(ignore)
    await new Promise((resolve) => setTimeout(resolve, 700))
    await session.abandon(new Error('enough'))
    await received
    assert.deepEqual(seen, [400, 900, 950, 970])
  })
})

describe('the hello', { concurrency: 4 }, () => {
  const refused: readonly (readonly [string, readonly string[], ErrorCode, RegExp])[] = [
    ['of another box', ['say knox 1 attic locked', 'drain'], 'key-rejected', /the box "attic", not "knox"/],
    ['of another version', ['say knox 2 knox locked', 'drain'], 'platform', /version 2/],
    ['that is none', ['say Welcome to FreeBSD!', 'drain'], 'verification', /Welcome to FreeBSD/],
    ['with control characters', ['say \u001b[2J', 'drain'], 'verification', /\?\[2J/],
    [
      'of a box that is busy',
      ['say failed busy another session is under way', 'exit 75'],
      'busy',
      /another session is under way/,
    ],
    ['that is half a line', ['raw knox 1 knox lock'], 'connection-lost', /before it said hello/],
    ['that does not come', [], 'connection-lost', /before it said hello/],
    [
      'of a box without its script',
      ['err sh: /root/knox-zfs-receive.sh: not found', 'exit 127'],
      'platform',
      /no knox-zfs-receive\.sh.*knox render/s,
    ],
    [
      'of a box whose script may not run',
      ['err sh: permission denied', 'exit 126'],
      'platform',
      /no knox-zfs-receive/,
    ],
    [
      'that ssh could not bring',
      ['err ssh: connect to host 192.0.2.1 port 22: Connection refused', 'exit 255'],
      'unreachable',
      /does not answer/,
    ],
    [
      'that ssh did not bring for a reason knox does not know',
      ['err strange', 'exit 255'],
      'unreachable',
      /strange/,
    ],
    [
      'of somebody else',
      ['err Host key verification failed.', 'exit 255'],
      'key-rejected',
      /another host key/,
    ],
    [
      'of a box that does not know us',
      ['err root@x: Permission denied (publickey).', 'exit 255'],
      'key-rejected',
      /certificate/,
    ],
  ]
  for (const [title, script, code, text] of refused)
    test(`${title} is ${code}`, async () => {
      const channel = fakeBox(...script)
      const error = await thrownBy(() => startSession(channel, 'knox', limitsOf(20)))
      assert.ok(knoxError(code, text)(error))
      assert.doesNotMatch(String(error), /\p{Cc}/u)
      await channel.ended
    })

  test('without ssh on this machine says so', async () => {
    const channel = openChannel(['/nonesuch/ssh'])
    await assert.rejects(startSession(channel, 'knox'), knoxError('platform', /not installed here/))
  })
})

describe('at every point of a session', { concurrency: 4 }, () => {
  for (const { name, before, call } of POINTS) {
    test(`${name}: each reason of the box is its own error, with the box’s words`, async () => {
      const checks = REASONS.map(async ([reason, code]) => {
        const script = [
          ...before,
          `say failed ${reason} these words \u009b`,
          'drain',
          reason === 'lock' ? 'exit 3' : 'say locked',
        ]
        const { error, final } = await failureAt(script, call)
        assert.ok(knoxError(code, /these words \?/)(error), reason)
        assert.equal(codeOf(final), code)
        if (code !== 'left-unlocked') assert.ok(knoxError(code, /the box has locked its disk/)(final), reason)
      })
      await Promise.all(checks)
    })

    test(`${name}: the end of the connection is connection-lost, also in the middle of a line`, async () => {
      for (const last of [[], ['raw failed receive no'], ['raw ok'], ['raw locked']]) {
        const { error, final } = await failureAt(
          [...before, ...last, 'err Timeout, server not responding.', 'exit 255'],
          call,
        )
        assert.equal(codeOf(error), 'connection-lost', last.join())
        assert.ok(knoxError('connection-lost', /ssh said: Timeout, server not responding/)(final))
      }
    })

    test(`${name}: garbage is an error of code verification, shown without its control characters`, async () => {
      const garbage = [
        'say \u001b[2Jhello?',
        'say ',
        'say failed',
        'say FAILED lock',
        'say ok -1',
        'say ok',
        'say unlocked now',
        'say lockedx',
        'say knox 1 knox locked',
        `say ${'x'.repeat(5000)}`,
      ]
      const checks = garbage.map(async (line) => {
        // place and rename are answered by a plain ok
        if (line === 'say ok' && (name === 'place' || name === 'rename')) return
        const { error } = await failureAt([...before, line, 'drain', 'say locked'], call)
        assert.ok(knoxError('verification', /unexpected/)(error), line)
        assert.doesNotMatch(String(error), /\p{Cc}/u)
        assert.ok(String(error).length < 500)
      })
      await Promise.all(checks)
    })
  }
})
