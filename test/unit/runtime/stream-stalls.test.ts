import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { startSession, type Limits } from '../../../provision/runtime/session.ts'
import { knoxError } from '../../support/expect.ts'
import { codeOf, failureAt, fakeBox, ignore, limitsOf } from '../../support/fake-box.ts'
import { READY, receive, sender } from '../../support/sender.ts'

describe('a stream that stalls', { concurrency: true }, () => {
  const limits: Limits = { ...limitsOf(20), stalled: 1.5 }

  test('because the sender gives nothing is given up, and the sender is stopped', async (t) => {
    const { argv, gone } = await sender(t, "trap '' TERM; while :; do sleep 0.2; done")
    const { error } = await failureAt([...READY, 'drain'], receive(argv), limits)
    assert.ok(knoxError('connection-lost', /did not answer for 1\.5 s while it received wd/)(error))
    assert.ok(await gone())
  })

  test('because the box does not read is given up', async (t) => {
    const progress = "while :; do printf '12:00:00\\t1000\\twd@a\\n' >&2; sleep 0.1; done"
    const { argv, gone } = await sender(t, `${progress} & exec yes`)
    const { error } = await failureAt([...READY, 'silence'], receive(argv), limits)
    assert.equal(codeOf(error), 'connection-lost')
    assert.ok(await gone())
  })

  test('only in the eyes of the clock goes on: bytes move, if slowly', async (t) => {
    const script =
      "for n in 1 2 3 4 5 6 7 8; do sleep 0.25; printf '12:00:00\\t%s\\twd@a\\n' $n >&2; done; printf x"
    const { argv } = await sender(t, script)
    const session = await startSession(
      fakeBox(...READY, 'take 1', 'say ok 5', 'hear bye', 'say locked'),
      'knox',
      limits,
    )
    assert.equal(await session.receive('full', 'wd', argv, ignore), '5')
    await session.bye()
  })

  test('after its last byte has the whole limit once more', async (t) => {
    const { argv } = await sender(t, 'sleep 1; printf x')
    const session = await startSession(
      fakeBox(...READY, 'take 1', 'sleep 1', 'say ok 5', 'hear bye', 'say locked'),
      'knox',
      limits,
    )
    assert.equal(await session.receive('full', 'wd', argv, ignore), '5')
    await session.bye()
  })
})

describe('a stream of many small snapshots', { concurrency: true }, () => {
  const limits: Limits = { ...limitsOf(20), stalled: 1.5, snapshot: 0.5 }
  const headers = (count: number) => `printf '${'incremental\\ts\\twd@t\\t0\\n'.repeat(count)}' >&2; printf x`

  test('is waited for as long as the box needs for them', async (t) => {
    const { argv } = await sender(t, headers(10))
    const session = await startSession(
      fakeBox(...READY, 'take 1', 'sleep 2.5', 'say ok 5', 'hear bye', 'say locked'),
      'knox',
      limits,
    )
    assert.equal(await session.receive('full', 'wd', argv, ignore), '5')
    await session.bye()
  })

  test('is given up in the end', async (t) => {
    const { argv } = await sender(t, headers(3))
    const { error } = await failureAt([...READY, 'take 1', 'silence'], receive(argv), limits)
    assert.ok(knoxError('connection-lost', /did not answer for 3 s while it received wd/)(error))
  })

  test('is given no more while it is sent', async (t) => {
    const { argv } = await sender(t, `${headers(100)}; sleep 30`)
    const { error } = await failureAt([...READY, 'take 1', 'silence'], receive(argv), limits)
    assert.ok(knoxError('connection-lost', /did not answer for 1\.5 s/)(error))
  })
})
