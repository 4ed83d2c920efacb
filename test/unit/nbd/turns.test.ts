import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { budgetOf } from '../../../provision/nbd/budget.ts'
import { takeTurns } from '../../../provision/nbd/turns.ts'

describe('turns', () => {
  test('whoever wants to be alone is alone, others run together, in the order of coming', async () => {
    const job = fc.record({ alone: fc.boolean(), ticks: fc.nat(3), fails: fc.boolean() })
    await fc.assert(
      fc.asyncProperty(fc.array(job, { maxLength: 30 }), async (jobs) => {
        const { together, alone } = takeTurns()
        const running = new Set<number>()
        const started: number[] = []
        const work = (n: number) => async () => {
          started.push(n)
          running.add(n)
          for (let tick = 0; tick <= (jobs[n]?.ticks ?? 0); tick += 1) {
            const others = [...running].filter((other) => other !== n)
            if (jobs[n]?.alone === true) assert.deepEqual(others, [])
            else assert.ok(others.every((other) => jobs[other]?.alone === false))
            await Promise.resolve()
          }
          running.delete(n)
          if (jobs[n]?.fails === true) throw new Error(`job ${n}`)
          return n
        }
        const ends = await Promise.allSettled(
          jobs.map((one, n) => (one.alone ? alone(work(n)) : together(work(n)))),
        )
        assert.deepEqual(
          started,
          jobs.map((_, n) => n),
        )
        assert.deepEqual(
          ends.map(({ status }) => status),
          jobs.map(({ fails }) => (fails ? 'rejected' : 'fulfilled')),
        )
      }),
    )
  })

  test('reads do run together', async () => {
    const { together } = takeTurns()
    let [running, most] = [0, 0]
    const read = async () => {
      running += 1
      most = Math.max(most, running)
      await sleep(5)
      running -= 1
    }
    await Promise.all([together(read), together(read), together(read)])
    assert.equal(most, 3)
  })
})

describe('a budget', () => {
  test('is never more than full, but for one that alone wants more; all come to their turn in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(150), { maxLength: 40 }), async (wants) => {
        const budget = budgetOf(100)
        const given: number[] = []
        const held: number[] = []
        await Promise.all(
          wants.map(async (bytes, n) => {
            const free = await budget.take(bytes)
            given.push(n)
            held.push(bytes)
            assert.ok(budget.used() <= 100 || held.filter((one) => one > 0).length <= 1)
            await Promise.resolve()
            held.splice(held.indexOf(bytes), 1)
            free()
            free() // twice is once
            assert.ok(budget.used() >= 0)
          }),
        )
        assert.deepEqual(
          given,
          wants.map((_, n) => n),
        )
        assert.equal(budget.used(), 0)
      }),
    )
  })
})
