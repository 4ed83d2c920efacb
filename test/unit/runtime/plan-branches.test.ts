import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { planBackup } from '../../../provision/runtime/plan.ts'
import { inventory, SimulatedBox, wordsOf } from '../../support/simulated-box.ts'

const POOLS = { home: 'wd', box: 'bk' }
const planned = (home: readonly string[], box: readonly string[], keep: boolean) =>
  planBackup(inventory(...home), inventory(...box), POOLS, new Map(), keep)

describe('evidence of what has gone another way', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[], RegExp])[] = [
    [
      'gone back',
      ['wd: a', 'wd/x: a b=1'],
      ['bk: a', 'bk/x: a b=1 c=2'],
      /gone back behind .* after @b the box has 1 of its own, home none/,
    ],
    [
      'other ways',
      ['wd: a', 'wd/x: a c d'],
      ['bk: a', 'bk/x: a b'],
      /different ways .* after @a the box has 1 of its own, home 2/,
    ],
    [
      'nothing in common',
      ['wd: a', 'wd/x: c'],
      ['bk: a', 'bk/x: b'],
      /no common snapshot .* another dataset of the same name\?/,
    ],
  ]
  for (const [name, home, box, pattern] of cases)
    test(name, () => {
      const { problems, steps, kept } = planned(home, box, false)
      assert.match(problems[0]?.message ?? '', pattern)
      assert.match(problems[0]?.hint ?? '', /--accept-divergence/)
      assert.deepEqual([steps, kept], [[], []])
    })

  test('of the pool’s own dataset, which cannot be moved aside, another way out is named', () => {
    const { problems, steps } = planned(['wd: a'], ['bk: a b'], true)
    assert.match(problems[0]?.hint ?? '', /zfs rollback -r bk@a/)
    assert.deepEqual(steps, [])
  })

  test('that way out lets the anchors go first, behind which zfs rolls nothing back', () => {
    const box = inventory('bk: a b c').map((dataset) => ({
      ...dataset,
      snapshots: dataset.snapshots.map((one) => (one.name === 'b' ? one : { ...one, held: true as const })),
    }))
    const { problems } = planBackup(inventory('wd: a'), box, { home: 'wd', box: 'bk' })
    assert.match(problems[0]?.hint ?? '', /: zfs release knox bk@c && zfs rollback -r bk@a$/)
  })
})

describe('an old branch', () => {
  test('is moved aside with its name telling until when, and the dataset is sent anew', () => {
    const { steps, kept, problems, goals } = planned(['wd: a', 'wd/x: a c'], ['bk: a', 'bk/x: a b'], true)
    assert.deepEqual(steps.map(wordsOf), ['rename bk/x bk/x-until-b', 'wd/x@a > bk/x', 'wd/x@a..c > bk/x'])
    assert.deepEqual([kept, problems, goals.length], [['of bk/x'], [], 2])
  })

  test('takes a free name, and what is below it and has not gone another way comes back', () => {
    const home = ['wd: a', 'wd/x: a=1 c=3', 'wd/x/deep: d1', 'wd/x/deep/er: e1 e2']
    const box = ['bk: a', 'bk/x: a=1 b=2', 'bk/x/deep: d1', 'bk/x/deep/er: e1', 'bk/x-until-b: z']
    const plan = planned(home, box, true)
    assert.deepEqual(plan.kept, ['of bk/x'])
    const simulated = new SimulatedBox(inventory(...box))
    simulated.run(plan, inventory(...home))
    const names = simulated
      .list()
      .map(({ name, snapshots }) => `${name}: ${snapshots.map((one) => one.guid).join(' ')}`)
    assert.deepEqual(names.sort(), [
      'bk/x-until-b-2: 1 2',
      'bk/x-until-b: z',
      'bk/x/deep/er: e1 e2',
      'bk/x/deep: d1',
      'bk/x: 1 3',
      'bk: a',
    ])
  })

  test('takes what is below it and has gone another way too with it', () => {
    const home = ['wd: a', 'wd/x: a c', 'wd/x/deep: d e']
    const box = ['bk: a', 'bk/x: a b', 'bk/x/deep: d f']
    const { kept, problems, goals } = planned(home, box, true)
    assert.deepEqual([kept, problems, goals.length], [['of bk/x', 'of bk/x/deep'], [], 3])
  })
})
