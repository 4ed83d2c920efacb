import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KnoxError, type ErrorCode } from '../../../provision/core/errors.ts'
import { backOff, withRetries } from '../../../provision/runtime/retry.ts'
import { knoxError } from '../../support/expect.ts'

/** Work that fails with these, one after another, and then succeeds. */
const failing = (...codes: readonly ErrorCode[]) => {
  const left = [...codes]
  let tries = 0
  const waits: number[] = []
  const notes: string[] = []
  return {
    waits,
    notes,
    tries: () => tries,
    run: (retries: number) =>
      withRetries(
        retries,
        (event) => {
          if (event.type === 'note') notes.push(event.text)
        },
        () => {
          tries += 1
          const code = left.shift()
          return code === undefined
            ? Promise.resolve('done')
            : Promise.reject(new KnoxError(code, `it is ${code}`))
        },
        (seconds) => Promise.resolve(waits.push(seconds)),
      ),
  }
}

describe('a run whose connection breaks', () => {
  test('is tried again after growing pauses, while the box is still busy with it or away', async () => {
    const work = failing('connection-lost', 'busy', 'unreachable', 'connection-lost')
    assert.equal(await work.run(5), 'done')
    assert.deepEqual([work.tries(), work.waits], [5, [5, 10, 20, 40]])
    assert.match(work.notes[0] ?? '', /connection-lost; trying again in 5 s/)
  })

  test('ends as a broken connection when the retries are used up, whatever came last', async () => {
    const work = failing('connection-lost', 'unreachable', 'unreachable', 'unreachable')
    await assert.rejects(work.run(2), knoxError('connection-lost'))
    assert.equal(work.tries(), 3)
  })

  test('with no retries ends at once', async () => {
    const work = failing('connection-lost')
    await assert.rejects(work.run(0), knoxError('connection-lost'))
    assert.deepEqual([work.tries(), work.waits], [1, []])
  })

  for (const code of [
    'unreachable',
    'busy',
    'key-rejected',
    'send-failed',
    'receive-failed',
    'left-unlocked',
    'verification',
  ] as const)
    test(`is not what ${code} means at the first try`, async () => {
      const work = failing(code)
      await assert.rejects(work.run(5), knoxError(code))
      assert.equal(work.tries(), 1)
    })

  for (const code of ['key-rejected', 'receive-failed', 'left-unlocked', 'disk'] as const)
    test(`and then ends with ${code} is not tried again`, async () => {
      const work = failing('connection-lost', code)
      await assert.rejects(work.run(5), knoxError(code))
      assert.equal(work.tries(), 2)
    })

  test('waits two minutes at the most', () => {
    assert.deepEqual([0, 1, 4, 5, 50].map(backOff), [5, 10, 80, 120, 120])
  })
})
