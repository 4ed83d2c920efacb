import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  NO_DELETIONS,
  planDeletions,
  vanishedDatasets,
  type DeletionPolicy,
  type DeletionState,
} from '../../../provision/runtime/deletions.ts'
import type { Dataset } from '../../../provision/tools/zfs.ts'
import { inventory } from '../../support/simulated-box.ts'

const POLICY: DeletionPolicy = { grace: 30, most: 10 }
const DAY = 86_400_000
const BEGIN = Date.parse('2026-01-01T12:00:00Z')
const pools = { home: 'tank', box: 'wd' }

interface Options {
  readonly exclude?: readonly string[]
  readonly untouched?: readonly string[]
  readonly accepted?: boolean
  readonly policy?: DeletionPolicy
}

const plan = (
  home: readonly Dataset[],
  box: readonly Dataset[],
  day: number,
  state: DeletionState = NO_DELETIONS,
  { exclude = [], untouched = [], accepted = false, policy = POLICY }: Options = {},
) =>
  planDeletions(
    { home, box, exclude, pools },
    state,
    policy,
    new Set(untouched),
    accepted,
    new Date(BEGIN + day * DAY),
  )

/** Runs of these days, the box unchanged; the last plan. */
const after = (
  days: readonly number[],
  home: readonly Dataset[],
  box: readonly Dataset[],
  options: Options = {},
) => {
  let state = NO_DELETIONS
  let last = plan(home, box, days[0] ?? 0, state, options)
  for (const day of days) {
    last = plan(home, box, day, state, options)
    state = last.state
  }
  return last
}

const EACH_DAY = Array.from({ length: 31 }, (_, day) => day)
const HOME = inventory('tank: r1 r4', 'tank/a: a3')
const BOX = inventory('wd: r1 r2 r3 r4', 'wd/a: a1 a2 a3')

describe('what the box may forget', () => {
  test('is what has been gone at home for the days of grace, but not before', () => {
    assert.deepEqual(after(EACH_DAY.slice(0, 30), HOME, BOX).destroy, [])
    assert.deepEqual(after(EACH_DAY, HOME, BOX).destroy, [
      { dataset: 'wd', snapshots: ['r2', 'r3'] },
      { dataset: 'wd/a', snapshots: ['a1', 'a2'] },
    ])
  })

  test('is nothing that came back meanwhile: its grace begins anew', () => {
    const { state } = after(EACH_DAY, HOME, BOX)
    const back = plan(
      BOX.map((one) => ({ ...one, name: one.name.replace('wd', 'tank') })),
      BOX,
      31,
      state,
    )
    assert.deepEqual([back.destroy, back.state.missing], [[], {}])
    assert.deepEqual(plan(HOME, BOX, 32, back.state).destroy, [])
  })

  test('is never the newest of a dataset, nor what the box holds', () => {
    const home = inventory('tank: x', 'tank/a: y')
    const box = inventory('wd: r1 x', 'wd/a: a1 a2').map((one) => ({
      ...one,
      snapshots: one.snapshots.map((snapshot) =>
        snapshot.name === 'r1' ? { ...snapshot, held: true as const } : snapshot,
      ),
    }))
    assert.deepEqual(after(EACH_DAY, home, box).destroy, [{ dataset: 'wd/a', snapshots: ['a1'] }])
  })

  test('is nothing below what is excluded, or in trouble', () => {
    assert.deepEqual(after(EACH_DAY, HOME, BOX, { exclude: ['tank/a'], untouched: ['tank'] }).destroy, [])
  })

  test('does not change by a clock that jumps a year: so many days must have seen it', () => {
    assert.deepEqual(after([0, 365], HOME, BOX).destroy, [])
    assert.deepEqual(after([365, 0, 1, 2], HOME, BOX).destroy, [])
    // a battery that is dead: 1970 until the net gives the time
    const dead = -20_000
    assert.deepEqual(after([dead, 0, dead, 0, dead, 1, 2, 3], HOME, BOX).destroy, [])
  })

  test('snapshots that moved with their dataset to another name are not gone', () => {
    const home = inventory('tank: r1', 'tank/new: a1 a2')
    const box = inventory('wd: r1', 'wd/old: a1 a2', 'wd/new: a2')
    assert.deepEqual(after(EACH_DAY, home, box, { accepted: true }).destroy, [])
  })
})

describe('a mass deletion', () => {
  const many = Array.from({ length: 100 }, (_, n) => `s${n}`)
  const home = inventory(`tank: ${many.slice(60).join(' ')}`)
  const box = inventory(`wd: ${many.join(' ')}`)

  test('is stopped whole, with a list, and goes with consent', () => {
    const stopped = after(EACH_DAY, home, box)
    assert.deepEqual(stopped.destroy, [])
    assert.match(
      stopped.problems[0]?.message ?? '',
      /^60 snapshots of the box .* 20 may go in one run: 60 of tank$/,
    )
    assert.equal(stopped.problems[0]?.kind, 'deletion')
    const consent = plan(home, box, 31, stopped.state, { accepted: true })
    assert.deepEqual([consent.destroy[0]?.snapshots.length, consent.problems], [60, []])
  })

  test('that was agreed to once goes on for as many days as the box takes', () => {
    const stopped = after(EACH_DAY, home, box)
    let { destroy, state } = plan(home, box, 31, stopped.state, { accepted: true })
    let left = box
    for (const day of [32, 33]) {
      const gone = new Set(destroy.flatMap(({ snapshots }) => snapshots).slice(0, 20))
      left = left.map((one) => ({
        ...one,
        snapshots: one.snapshots.filter(({ name }) => !gone.has(name)),
      }))
      const next = plan(home, left, day, state)
      ;({ destroy, state } = next)
      assert.deepEqual(next.problems, [])
      assert.equal(destroy.flatMap(({ snapshots }) => snapshots).length, 60 - 20 * (day - 31))
    }
  })

  test('that was not told is not agreed to: neither later ones, nor what is not due yet, nor what came back', () => {
    const { state } = after(EACH_DAY, home, box)
    const others = Array.from({ length: 30 }, (_, n) => `t${n}`)
    const more = [...box, ...inventory(`wd/b: ${others.join(' ')} last`)]
    const thin = [...home, ...inventory('tank/b: last')]
    // wd/b is seen for the first time
    let last = plan(thin, more, 31, state, { accepted: true })
    for (const day of EACH_DAY) last = plan(thin, more, 32 + day, last.state)
    assert.deepEqual(
      last.destroy.map(({ dataset, snapshots }) => [dataset, snapshots.length]),
      [['wd', 60]],
    )
    assert.match(last.problems[0]?.message ?? '', /^30 snapshots .*: 30 of tank\/b$/)
    const back = box.map((one) => ({ ...one, name: one.name.replace('wd', 'tank') }))
    last = plan([...back, ...thin.slice(1)], more, 70, last.state)
    for (const day of EACH_DAY) last = plan(thin, more, 71 + day, last.state)
    assert.deepEqual(last.destroy, [])
    assert.match(last.problems[0]?.message ?? '', /^90 snapshots /)
  })

  test('that is under way does not keep the others waiting until they are many themselves', () => {
    const { state } = after(EACH_DAY, home, box)
    const more = [...box, ...inventory('wd/b: b1 b2')]
    const thin = [...home, ...inventory('tank/b: b2')]
    let last = plan(thin, more, 31, state, { accepted: true })
    for (const day of EACH_DAY) last = plan(thin, more, 32 + day, last.state)
    assert.deepEqual(last.destroy[0], { dataset: 'wd/b', snapshots: ['b1'] })
    assert.deepEqual([last.destroy[1]?.snapshots.length, last.problems], [60, []])
  })

  test('that was agreed to is so after a clock that jumped, too: only its grace begins anew', () => {
    const { state } = after(EACH_DAY, home, box)
    let last = plan(home, box, 31, state, { accepted: true })
    last = plan(home, box, 400, last.state)
    assert.deepEqual([last.destroy, last.problems], [[], []])
    for (const day of EACH_DAY) last = plan(home, box, 401 + day, last.state)
    assert.deepEqual([last.destroy[0]?.snapshots.length, last.problems], [60, []])
  })

  test('is more than the owner’s share', () => {
    assert.equal(
      after(EACH_DAY, home, box, { policy: { grace: 30, most: 60 } }).destroy[0]?.snapshots.length,
      60,
    )
    assert.deepEqual(after(EACH_DAY, home, box, { policy: { grace: 30, most: 59 } }).destroy, [])
  })
})

describe('a dataset that has vanished at home', () => {
  const box = inventory('wd: r1', 'wd/a: a1 a2 a3', 'wd/empty:')
  const home = inventory('tank: r1')

  test('is told in every run, and nothing of it goes without consent', () => {
    const { destroy, problems } = after(EACH_DAY, home, box)
    assert.deepEqual(destroy, [])
    assert.match(problems[0]?.message ?? '', /^no longer at home, but on the box: tank\/a$/)
    assert.match(problems[0]?.hint ?? '', /--accept-deletions/)
  })

  test('with consent it is told no more, and thinned after the grace, but for its newest', () => {
    const { state, problems, destroy } = plan(home, box, 0, NO_DELETIONS, { accepted: true })
    assert.deepEqual([problems, destroy], [[], []])
    const world = { home, box, exclude: [], pools }
    assert.deepEqual(vanishedDatasets(world, state), [])
    let last = { state, destroy, problems }
    for (const day of EACH_DAY) last = plan(home, box, day, last.state)
    assert.deepEqual([last.destroy, last.problems], [[{ dataset: 'wd/a', snapshots: ['a1', 'a2'] }], []])
  })

  test('with consent is no mass deletion after its grace, however many snapshots it has', () => {
    const large = inventory('wd: r1', `wd/a: ${Array.from({ length: 100 }, (_, n) => `s${n}`).join(' ')}`)
    let last = plan(home, large, 0, NO_DELETIONS, { accepted: true })
    for (const day of EACH_DAY) last = plan(home, large, day, last.state)
    assert.deepEqual([last.destroy[0]?.snapshots.length, last.problems], [99, []])
  })

  test('that comes back and vanishes again is told again only if it is another one', () => {
    const { state } = plan(home, box, 0, NO_DELETIONS, { accepted: true })
    const other = box.map((one) => (one.name === 'wd/a' ? { ...one, guid: 'another' } : one))
    assert.equal(plan(home, other, 1, state).problems.length, 1)
  })

  test('an old branch that is kept is neither told nor thinned', () => {
    const state: DeletionState = { missing: {}, datasets: { 'of wd/a': 'kept' } }
    let last = plan(home, box, 0, state)
    for (const day of EACH_DAY) last = plan(home, box, day, last.state, { accepted: true })
    assert.deepEqual([last.destroy, last.problems], [[], []])
  })
})

test('whatever happens at home, nothing goes that home has, that is newest, held, or not yet due; and never more than the cap', () => {
  const names = fc.uniqueArray(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(
      names,
      names,
      fc.array(fc.nat({ max: 400 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 60 }),
      (there, here, jumbled, grace) => {
        const days = jumbled.toSorted((a, b) => a - b)
        const box = inventory(`wd: ${there.map((n) => `s${n}`).join(' ')}`)
        const home = inventory(`tank: ${here.map((n) => `s${n}`).join(' ')}`)
        let state = NO_DELETIONS
        const seen = new Map<string, number>()
        for (const day of days) {
          const now = plan(home, box, day, state, { policy: { grace, most: 10 } })
          state = now.state
          const atHome = new Set(home[0]?.snapshots.map(({ name }) => name))
          const gone = now.destroy.flatMap(({ snapshots }) => snapshots)
          for (const name of gone) {
            assert.ok(!atHome.has(name))
            assert.notEqual(name, box[0]?.snapshots.at(-1)?.name)
            assert.ok(day - (seen.get(name) ?? Number.NaN) >= grace)
          }
          assert.ok(gone.length <= 20)
          for (const { name } of box[0]?.snapshots ?? []) if (!seen.has(name)) seen.set(name, day)
        }
      },
    ),
  )
})
