import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { startSession } from '../../../provision/runtime/session.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import {
  codeOf,
  failureAt,
  fakeBox,
  HELLO,
  ignore,
  key,
  limitsOf,
  POINTS,
  stream,
} from '../../support/fake-box.ts'

/** long enough for a hello, short for all that comes after it */
const SHORT = { ...limitsOf(0.5), hello: 20 }

describe('the limits of a session', { concurrency: true }, () => {
  test('a hello that never comes is waited for within its limit, and leaves no process', async () => {
    const checks = ['silence', 'deaf', 'flood'].map(async (wait) => {
      const channel = fakeBox(wait)
      const error = await thrownBy(() =>
        startSession(channel, 'knox', wait === 'flood' ? SHORT : { ...SHORT, hello: 0.5 }),
      )
      assert.equal(codeOf(error), wait === 'flood' ? 'verification' : 'unreachable', String(error))
      assert.ok((await channel.ended).signal !== null)
    })
    await Promise.all(checks)
  })

  for (const { name, before, call } of POINTS)
    test(`${name}: a box that says nothing, or reads nothing and floods, is left within them`, async () => {
      const checks = ['silence', 'deaf', 'flood'].map(async (wait) => {
        // a flood is known by what it says, not by its time
        const limits = wait === 'flood' ? limitsOf(4) : SHORT
        const { error, end } = await failureAt([...before, wait], call, limits)
        assert.equal(codeOf(error), wait === 'flood' ? 'verification' : 'connection-lost', String(error))
        assert.ok(end.signal !== null)
        if (wait === 'silence') assert.match(String(error), /did not answer for 0\.5 s/)
      })
      await Promise.all(checks)
    })

  test('with "locked" but a connection that stays open is no success, and is not waited for', async () => {
    const { error } = await failureAt(
      [HELLO, 'hear bye', 'say locked', 'deaf'],
      (s) => s.bye(),
      limitsOf(0.5),
    )
    assert.ok(knoxError('verification', /ended with SIGKILL/)(error))
  })
})

describe('the end of a session', () => {
  test('without "locked" is no success: the box’s exit 0 means nothing (S1)', async () => {
    for (const last of [['exit 0'], ['say bye', 'exit 0'], ['raw locked', 'exit 0']]) {
      const { error } = await failureAt([HELLO, 'hear bye', ...last], (s) => s.bye())
      assert.ok(error instanceof KnoxError)
    }
  })

  test('with "locked" but a bad exit code is no success either', async () => {
    const { error } = await failureAt([HELLO, 'hear bye', 'say locked', 'exit 1'], (s) => s.bye())
    assert.ok(knoxError('verification', /ended with 1/)(error))
  })

  test('"failed lock" wins over whatever went wrong before, and over a "locked" that follows', async () => {
    const causes: readonly (readonly [string, readonly string[], (typeof POINTS)[number]['call']])[] = [
      [
        'a failed receive',
        ['hear receive|full|wd', 'say ready', 'say failed receive x', 'drain'],
        (s) => s.receive('full', 'wd', stream(1000), ignore),
      ],
      [
        'a failed send',
        ['hear receive|full|wd', 'say ready', 'drain'],
        (s) => s.receive('full', 'wd', ['sh', '-c', 'exit 1'], ignore),
      ],
      [
        'a failed send and its verdict',
        ['hear receive|full|wd', 'say ready', 'drain', 'say failed receive x'],
        (s) => s.receive('full', 'wd', ['sh', '-c', 'exit 1'], ignore),
      ],
      [
        'a wrong key',
        ['hear unlock', 'say waiting', 'say failed key Wrong key', 'drain'],
        (s) => s.unlock(key()),
      ],
      ['garbage', ['hear list', 'say garbage', 'drain'], (s) => s.list()],
      ['bye', ['hear bye'], (s) => s.bye()],
    ]
    for (const [title, script, call] of causes) {
      const { final } = await failureAt(
        [HELLO, ...script, 'say failed lock da0 could not be detached', 'say locked', 'exit 3'],
        call,
      )
      assert.ok(knoxError('left-unlocked', /da0 could not be detached/)(final), title)
    }
  })

  test('abandoned for a bug keeps the bug, and still waits for the lock', async () => {
    const bug = new TypeError('oops')
    const call = () => Promise.reject(bug)
    const { final, end } = await failureAt([HELLO, 'drain', 'sleep 0.3', 'say locked'], call)
    assert.deepEqual([final, end.exitCode], [bug, 0])
    const worse = await failureAt([HELLO, 'drain', 'say failed lock x', 'exit 3'], call)
    assert.equal(codeOf(worse.final), 'left-unlocked')
  })

  test('abandoned because the connection broke tells the box’s own reason if there is one', async () => {
    const broken = new KnoxError('connection-lost', 'broke')
    const { final } = await failureAt([HELLO, 'drain', 'say failed disk it was pulled', 'say locked'], () =>
      Promise.reject(broken),
    )
    assert.ok(knoxError('disk', /it was pulled/)(final))
  })

  test('abandoned keeps no timer that holds up the end of knox', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((one) => one === 'Timeout').length
    await new Promise((resolve) => setTimeout(resolve, 300))
    const before = timers()
    const call = () => Promise.reject(new Error('x'))
    const { final } = await failureAt([HELLO, 'drain', 'say failed lock x', 'exit 3'], call, limitsOf(600))
    assert.equal(codeOf(final), 'left-unlocked')
    assert.equal(timers(), before)
  })
})
