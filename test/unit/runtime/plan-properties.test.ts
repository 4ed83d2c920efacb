import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { included, planBackup, unmetGoals } from '../../../provision/runtime/plan.ts'
import { receiptOf, rememberedDatasets } from '../../../provision/runtime/receipt.ts'
import type { Dataset } from '../../../provision/tools/zfs.ts'
import { inventory, SimulatedBox, wordsOf } from '../../support/simulated-box.ts'
import { ACTS, SimulatedHome, type Act } from '../../support/simulated-home.ts'

const POOLS = { home: 'wd', box: 'bk' }

const act: fc.Arbitrary<Act> = fc.tuple(fc.constantFrom(...ACTS), fc.nat({ max: 30 }), fc.nat({ max: 30 }))
/** what happens at home between two backups */
const days = fc.array(fc.array(act, { maxLength: 7 }), { minLength: 1, maxLength: 6 })
const excluded = fc.subarray(['wd/a', 'wd/b', 'wd/a/b', 'wd/two words'])

/** The box as the receipt remembers it, with each dataset's newest snapshot only. */
const remembered = (datasets: readonly Dataset[]) => {
  const pool = { name: 'bk', guid: '1', used: 0, available: 0, disk: '', trouble: '' }
  const receipt = receiptOf('knox', undefined, { pool, datasets }, new Date())
  return rememberedDatasets(receipt)
}

/** One backup of home to the box; everything that must hold of it. */
const backUp = (
  home: readonly Dataset[],
  box: SimulatedBox,
): { readonly steps: number; readonly problems: number } => {
  const before = box.holdings()
  const known = remembered(box.list())
  const plan = planBackup(home, box.list(), POOLS)
  const words = plan.steps.map(wordsOf).join(', ')

  box.run(plan, home)
  assert.deepEqual(unmetGoals(plan.goals, box.list()), [], `goals are unmet after ${words}`)
  const after = box.holdings()
  for (const held of before) assert.ok(after.has(held), `${held} was destroyed by ${words}`)

  const accounted = [...plan.goals.map((goal) => goal.home), ...plan.problems.map(({ dataset }) => dataset)]
  assert.deepEqual(
    accounted.sort(),
    home.map(({ name }) => name).sort(),
    'each dataset is a goal or a problem, and one only',
  )

  const second = planBackup(home, box.list(), POOLS)
  assert.deepEqual(second.steps.map(wordsOf), [], `a second plan is not empty after ${words}`)
  assert.equal(second.problems.length, plan.problems.length)

  // a run that asks nothing but the receipt believes "nothing to send" only if it is so
  const believed = planBackup(home, known, POOLS)
  if (believed.steps.length === 0 && believed.problems.length === 0)
    assert.deepEqual([plan.steps.length, plan.problems.length], [0, 0], `the receipt hides ${words}`)
  return { steps: plan.steps.length, problems: plan.problems.length }
}

describe('whatever happens at home', () => {
  test('each backup reaches its goals by steps that zfs accepts, destroys nothing, and a second one has nothing to do', () => {
    let [clean, troubled, renames] = [0, 0, 0]
    fc.assert(
      fc.property(days, excluded, (plan, exclude) => {
        const home = new SimulatedHome()
        const box = new SimulatedBox(inventory('bk:'))
        for (const acts of plan) {
          for (const one of acts) home.do(one)
          const { steps, problems } = backUp(included(home.list(), exclude), box)
          if (problems === 0 && steps > 0) clean += 1
          if (problems > 0) troubled += 1
          if (steps > 0) renames += 1
        }
      }),
      { numRuns: 1500 },
    )
    assert.ok(clean > 100 && troubled > 100 && renames > 100, `${clean} ${troubled} ${renames}`)
  })

  test('a box that somebody else has written to is not harmed either', () => {
    const stranger = fc.record({
      name: fc.constantFrom('bk/a', 'bk/b', 'bk/a/b', 'bk/x', 'bk/two words'),
      snapshots: fc.array(fc.constantFrom('g1', 'g2', 'g3', 'x1', 's2=x2', 's3=x3'), { maxLength: 4 }),
    })
    fc.assert(
      fc.property(
        days,
        fc.uniqueArray(stranger, { maxLength: 4, selector: ({ name }) => name }),
        (plan, foreign) => {
          const lines = foreign.map(({ name, snapshots }) => `${name}: ${[...new Set(snapshots)].join(' ')}`)
          const names = new Set(['bk', 'bk/a', ...foreign.map(({ name }) => name)])
          const rest = [...names]
            .filter((name) => !foreign.some((one) => one.name === name))
            .map((name) => `${name}:`)
          const box = new SimulatedBox(inventory(...[...rest, ...lines].sort()))
          const home = new SimulatedHome()
          for (const acts of plan) {
            for (const one of acts) home.do(one)
            backUp(included(home.list(), []), box)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('a backup that breaks off anywhere is continued by the next, with no more steps than are missing', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 12 }), fc.nat({ max: 20 }), (acts, cut) => {
        const home = new SimulatedHome()
        for (const one of acts) home.do(one)
        const datasets = included(home.list(), [])
        const box = new SimulatedBox(inventory('bk:'))
        const plan = planBackup(datasets, box.list(), POOLS)
        box.run({ ...plan, steps: plan.steps.slice(0, cut) }, datasets)
        const { steps } = backUp(datasets, box)
        assert.ok(steps <= Math.max(0, plan.steps.length - cut))
      }),
      { numRuns: 500 },
    )
  })
})
