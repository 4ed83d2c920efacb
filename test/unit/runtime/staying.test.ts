import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from '../../../provision/runtime/session.ts'
import { staying } from '../../../provision/runtime/staying.ts'

/** A session that only knows how to stay; each answer takes its time. */
const slowBox = (answer: () => Promise<void> = () => sleep(30)) => {
  const seen = { asked: 0, open: 0, most: 0 }
  const stay = async () => {
    seen.asked += 1
    seen.open += 1
    seen.most = Math.max(seen.most, seen.open)
    await answer().finally(() => (seen.open -= 1))
  }
  return { seen, session: { stay } as Session }
}

test('a session stays while home works; one sign of life at a time, and none is left unanswered', async () => {
  const { seen, session } = slowBox()
  assert.equal(await staying(session, () => sleep(300, 'done'), 0.01), 'done')
  const { asked } = seen
  assert.ok(asked > 2, String(asked))
  assert.deepEqual([seen.open, seen.most], [0, 1])
  await sleep(50)
  assert.equal(seen.asked, asked)
})

test('what work throws is thrown, whatever the box says', async () => {
  const { session } = slowBox(() => Promise.reject(new Error('the box is gone')))
  await assert.rejects(
    staying(session, () => sleep(50).then(() => assert.fail('work failed')), 0.01),
    /work failed/,
  )
  assert.equal(await staying(session, () => sleep(50, 'done'), 0.01), 'done')
})
