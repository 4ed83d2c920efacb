import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { included, planBackup, unmetGoals, type Problem } from '../../../provision/runtime/plan.ts'
import { inventory, SimulatedBox, wordsOf } from '../../support/simulated-box.ts'

const POOLS = { home: 'wd', box: 'bk' }

interface Case {
  readonly title: string
  readonly home: readonly string[]
  readonly box: readonly string[]
  readonly exclude?: readonly string[]
  readonly steps: readonly string[]
  readonly problems?: readonly (readonly [string, Problem['kind']])[]
}

/** A snapshot is its guid, `name=guid` where they differ: see test/support/simulated-box.ts. */
const CASES: readonly Case[] = [
  {
    title: 'the first run sends each dataset whole: its oldest snapshot, then all the others in one stream',
    home: ['wd: r1 r2 r3', 'wd/a: a1', 'wd/a/b: b1 b2'],
    box: ['bk:'],
    steps: ['wd@r1 > bk', 'wd@r1..r3 > bk', 'wd/a@a1 > bk/a', 'wd/a/b@b1 > bk/a/b', 'wd/a/b@b1..b2 > bk/a/b'],
  },
  {
    title: 'with nothing new there is nothing to do',
    home: ['wd: r1 r2', 'wd/a: a1'],
    box: ['bk: r1 r2', 'bk/a: a1'],
    steps: [],
  },
  {
    title: 'an incremental run goes from the newest snapshot of the box to the newest of home',
    home: ['wd: r1 r2 r3 r4', 'wd/a: a1 a2'],
    box: ['bk: r1 r2', 'bk/a: a1 a2'],
    steps: ['wd@r2..r4 > bk'],
  },
  {
    title: 'a run that broke off after the first snapshot goes on from there',
    home: ['wd: r1 r2 r3', 'wd/a: a1 a2'],
    box: ['bk: r1'],
    steps: ['wd@r1..r3 > bk', 'wd/a@a1 > bk/a', 'wd/a@a1..a2 > bk/a'],
  },
  {
    title: 'a new dataset is sent whole, a new child of a known parent too',
    home: ['wd: r1', 'wd/a: a1', 'wd/a/new: n1', 'wd/new: m1'],
    box: ['bk: r1', 'bk/a: a1'],
    steps: ['wd/a/new@n1 > bk/a/new', 'wd/new@m1 > bk/new'],
  },
  {
    title: 'snapshots pruned at home stay on the box, and the run goes on from its newest',
    home: ['wd: r3 r4'],
    box: ['bk: r1 r2 r3'],
    steps: ['wd@r3..r4 > bk'],
  },
  {
    title:
      'the newest snapshot of the box pruned at home is a divergence: nothing is rolled back (facts 11.10)',
    home: ['wd: r1 r3'],
    box: ['bk: r1 r2'],
    steps: [],
    problems: [['wd', 'diverged']],
  },
  {
    title: 'all common snapshots pruned at home is a divergence: nothing is sent whole over it',
    home: ['wd: r5'],
    box: ['bk: r1 r2'],
    steps: [],
    problems: [['wd', 'diverged']],
  },
  {
    title: 'a rollback at home is a divergence, and the other datasets go on',
    home: ['wd: r1', 'wd/a: a1 x2', 'wd/b: b1 b2'],
    box: ['bk: r1', 'bk/a: a1 a2', 'bk/b: b1'],
    steps: ['wd/b@b1..b2 > bk/b'],
    problems: [['wd/a', 'diverged']],
  },
  {
    title: 'snapshots of the same names with other guids have nothing in common',
    home: ['wd: r1=x1 r2=x2'],
    box: ['bk: r1 r2'],
    steps: [],
    problems: [['wd', 'diverged']],
  },
  {
    title: 'a snapshot renamed at home is found by its guid, and named as home names it',
    home: ['wd: old=r1 kept=r2 r3'],
    box: ['bk: r1 r2'],
    steps: ['wd@kept..r3 > bk'],
  },
  {
    title: 'a new snapshot under a name that the box has for another one is a problem, not a broken session',
    home: ['wd: old=r1 r2 r1=r3', 'wd/a: a1 a2'],
    box: ['bk: r1 r2', 'bk/a: a1'],
    steps: ['wd/a@a1..a2 > bk/a'],
    problems: [['wd', 'diverged']],
  },
  {
    title: 'a dataset without snapshots is named as a problem, and gets a place only if a child needs one',
    home: ['wd: r1', 'wd/a:', 'wd/b:', 'wd/b/c: c1'],
    box: ['bk: r1'],
    steps: ['place bk/b', 'wd/b/c@c1 > bk/b/c'],
    problems: [
      ['wd/a', 'no-snapshot'],
      ['wd/b', 'no-snapshot'],
    ],
  },
  {
    title: 'a place that got its first snapshot is filled',
    home: ['wd: r1', 'wd/b: b1', 'wd/b/c: c1'],
    box: ['bk: r1', 'bk/b:', 'bk/b/c: c1'],
    steps: ['wd/b@b1 > bk/b'],
  },
  {
    title: 'the pool itself without a snapshot is no step: a pool is there already',
    home: ['wd:', 'wd/a: a1'],
    box: ['bk:'],
    steps: ['wd/a@a1 > bk/a'],
    problems: [['wd', 'no-snapshot']],
  },
  {
    title: 'what is excluded stays at home with all below it, and nothing of it is touched on the box',
    home: ['wd: r1 r2', 'wd/a: a1 a2', 'wd/a/b: b1', 'wd/ab: c1'],
    box: ['bk: r1', 'bk/a: a1'],
    exclude: ['wd/a'],
    steps: ['wd@r1..r2 > bk', 'wd/ab@c1 > bk/ab'],
  },
  {
    title: 'what only the box has is left alone',
    home: ['wd: r1'],
    box: ['bk: r1', 'bk/gone: g1 g2', 'bk/other: o1'],
    steps: [],
  },
  {
    title: 'a dataset renamed at home is renamed on the box, and goes on from there',
    home: ['wd: r1', 'wd/new: a1 a2'],
    box: ['bk: r1', 'bk/old: a1'],
    steps: ['rename bk/old bk/new', 'wd/new@a1..a2 > bk/new'],
  },
  {
    title: 'children move with their parent, and only once',
    home: ['wd: r1', 'wd/new: a1', 'wd/new/b: b1', 'wd/new/b/c: c1'],
    box: ['bk: r1', 'bk/old: a1', 'bk/old/b: b1', 'bk/old/b/c: c1'],
    steps: ['rename bk/old bk/new'],
  },
  {
    title: 'parent and child renamed together',
    home: ['wd: r1', 'wd/new: a1', 'wd/new/kid: b1'],
    box: ['bk: r1', 'bk/old: a1', 'bk/old/child: b1'],
    steps: ['rename bk/old bk/new', 'rename bk/new/child bk/new/kid'],
  },
  {
    title: 'a chain of renames is done from its free end',
    home: ['wd: r1', 'wd/b: a1', 'wd/c: b1', 'wd/d: c1'],
    box: ['bk: r1', 'bk/a: a1', 'bk/b: b1', 'bk/c: c1'],
    steps: ['rename bk/c bk/d', 'rename bk/b bk/c', 'rename bk/a bk/b'],
  },
  {
    title: 'two datasets that swapped their names are a divergence, and neither is touched',
    home: ['wd: r1', 'wd/a: b1 b2', 'wd/b: a1 a2'],
    box: ['bk: r1', 'bk/a: a1', 'bk/b: b1'],
    steps: [],
    problems: [
      ['wd/a', 'diverged'],
      ['wd/b', 'diverged'],
    ],
  },
  {
    title: 'a dataset moved below a new one is moved on the box too, not sent again',
    home: ['wd: r1', 'wd/new: n1', 'wd/new/a: a1 a2'],
    box: ['bk: r1', 'bk/a: a1'],
    steps: ['place bk/new', 'rename bk/a bk/new/a', 'wd/new@n1 > bk/new', 'wd/new/a@a1..a2 > bk/new/a'],
  },
  {
    title: 'a dataset moved below an excluded one is moved to a place made for it',
    home: ['wd: r1', 'wd/ex: x1', 'wd/ex/deep: y1', 'wd/ey/deep: a1'],
    box: ['bk: r1', 'bk/a: a1'],
    exclude: ['wd/ex'],
    steps: ['place bk/ey', 'rename bk/a bk/ey/deep'],
  },
  {
    title: 'a dataset that was renamed, and another made under its old name',
    home: ['wd: r1', 'wd/a: n1', 'wd/b: a1 a2'],
    box: ['bk: r1', 'bk/a: a1'],
    steps: ['rename bk/a bk/b', 'wd/a@n1 > bk/a', 'wd/b@a1..a2 > bk/b'],
  },
  {
    title: 'a dataset put below a new one of its own name: the old copy is kept where it is',
    home: ['wd: r1', 'wd/a: n1', 'wd/a/old: a1'],
    box: ['bk: r1', 'bk/a: a1'],
    steps: ['wd/a/old@a1 > bk/a/old'],
    problems: [['wd/a', 'diverged']],
  },
  {
    title: 'a clone is sent whole, and its origin stays where it is',
    home: ['wd: r1', 'wd/a: a1 a2', 'wd/clone: c1'],
    box: ['bk: r1', 'bk/a: a1 a2'],
    steps: ['wd/clone@c1 > bk/clone'],
  },
  {
    title: 'a copy made at home by send and receive has the guids of its original, which stays where it is',
    home: ['wd: r1', 'wd/a: a1 a2', 'wd/copy: a1 a2 a3'],
    box: ['bk: r1', 'bk/a: a1 a2'],
    steps: ['wd/copy@a1 > bk/copy', 'wd/copy@a1..a3 > bk/copy'],
  },
  {
    title:
      'a promoted clone takes the old snapshots with it; the box’s dataset is not moved away from the other',
    home: ['wd: r1', 'wd/a: a3', 'wd/clone: a1 a2 c1'],
    box: ['bk: r1', 'bk/a: a1 a2 a3'],
    steps: ['wd/clone@a1 > bk/clone', 'wd/clone@a1..c1 > bk/clone'],
  },
]

describe('a plan', () => {
  for (const { title, home, box, exclude = [], steps, problems = [] } of CASES)
    test(title, () => {
      const datasets = included(inventory(...home), exclude)
      const there = inventory(...box)
      const plan = planBackup(datasets, there, POOLS)
      assert.deepEqual(plan.steps.map(wordsOf), steps)
      assert.deepEqual(
        plan.problems.map(({ dataset, kind }) => [dataset, kind]),
        problems,
      )
      const simulated = new SimulatedBox(there)
      simulated.run(plan, datasets)
      assert.deepEqual(unmetGoals(plan.goals, simulated.list()), [])
    })

  test('a divergence names the newest snapshot of both sides, the last common one, and a way out', () => {
    const apart = planBackup(inventory('wd: r1 x2'), inventory('bk: r1 r2'), POOLS).problems[0]
    for (const word of ['wd', 'bk', '@r1', '@x2', '@r2']) assert.ok(apart?.message.includes(word), word)
    assert.match(apart?.hint ?? '', /nothing was rolled back/)
    const strangers = planBackup(inventory('wd: x1'), inventory('bk: r1'), POOLS).problems[0]
    assert.match(strangers?.message ?? '', /no common snapshot/)
  })

  test('order is that of the inventory’s createtxg: a name that sorts otherwise is no trouble (S4)', () => {
    const plan = planBackup(inventory('wd: z9 a1 m5'), inventory('bk: z9'), POOLS)
    assert.deepEqual(plan.steps.map(wordsOf), ['wd@z9..m5 > bk'])
    assert.equal(plan.goals[0]?.newest.name, 'm5')
  })

  test('a goal has every snapshot that is delivered, and only the newest of those the box must list last', () => {
    const [first] = planBackup(inventory('wd: r1 r2 r3'), inventory('bk:'), POOLS).goals
    assert.deepEqual([first?.home, first?.dataset, first?.guids], ['wd', 'bk', ['r1', 'r2', 'r3']])
    const [next] = planBackup(inventory('wd: r1 r2 r3'), inventory('bk: r1'), POOLS).goals
    assert.deepEqual(next?.guids, ['r2', 'r3'])
    const [none] = planBackup(inventory('wd: r1 r2'), inventory('bk: r1 r2'), POOLS).goals
    assert.deepEqual([none?.newest.guid, none?.guids], ['r2', ['r2']])
  })

  test('names with blanks, and a pool whose name begins another dataset’s, are mapped whole', () => {
    const home = included(inventory('wd: r1', 'wd/two words: a1', 'wd/wd: b1'), [])
    const plan = planBackup(home, inventory('bk: r1'), POOLS)
    assert.deepEqual(plan.steps.map(wordsOf), ['wd/two words@a1 > bk/two words', 'wd/wd@b1 > bk/wd'])
  })
})

describe('goals', () => {
  const { goals } = planBackup(inventory('wd: r1 r2 r3'), inventory('bk: r1'), POOLS)
  const unmet = (...box: readonly string[]) => unmetGoals(goals, inventory(...box)).length

  test('are met only if the box lists every snapshot that was to arrive, the newest last (S1)', () => {
    assert.equal(unmet('bk: r1 r2 r3'), 0)
    assert.equal(unmet('bk: r1 r2'), 1)
    assert.equal(unmet('bk: r1 r3'), 1)
    assert.equal(unmet('bk: r1 r2 r3 x4'), 1)
    assert.equal(unmet('bk: r1 r3 r2'), 1)
    assert.equal(unmet('bk: r1 r2=x2 r3'), 1)
    assert.equal(unmet('bk:'), 1)
    assert.equal(unmet('bk/other: r1 r2 r3'), 1)
    assert.equal(unmet(), 1)
  })
})

describe('an interrupted stream', () => {
  const planned = (home: readonly string[], box: readonly string[], name: string, guid: string) => {
    const partials = new Map([[name, { token: '1-a-b-c', guid, bytes: 7 }]])
    const plan = planBackup(inventory(...home), inventory(...box), POOLS, partials)
    return { steps: plan.steps.map(wordsOf), goals: plan.goals.map(({ guids }) => guids) }
  }

  test('of a whole dataset goes on, and what follows comes after it', () => {
    assert.deepEqual(planned(['wd: r1', 'wd/a: a1 a2 a3'], ['bk: r1', 'bk/a:'], 'bk/a', 'a1'), {
      steps: ['rest of wd/a@a1 > bk/a', 'wd/a@a1..a3 > bk/a'],
      goals: [['r1'], ['a1', 'a2', 'a3']],
    })
  })

  test('between two snapshots goes on to the one it was for', () => {
    assert.deepEqual(planned(['wd: r1 r2 r3 r4'], ['bk: r1'], 'bk', 'r3'), {
      steps: ['rest of wd@r3 > bk', 'wd@r3..r4 > bk'],
      goals: [['r2', 'r3', 'r4']],
    })
    assert.deepEqual(planned(['wd: r1 r2'], ['bk: r1'], 'bk', 'r2').steps, ['rest of wd@r2 > bk'])
  })

  test('is nothing where the box has that snapshot already, or has gone another way', () => {
    assert.deepEqual(planned(['wd: r1 r2'], ['bk: r1 r2'], 'bk', 'r2').steps, [])
    assert.deepEqual(planned(['wd: r1 r2'], ['bk: x1'], 'bk', 'r2').steps, [])
  })
})
