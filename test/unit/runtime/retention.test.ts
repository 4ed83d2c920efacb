import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decide, type Policy } from '../../../provision/runtime/retention.ts'
import { snapshotName } from '../../../provision/runtime/snapshot.ts'
import type { Dataset } from '../../../provision/tools/zfs.ts'
import { inventory } from '../../support/simulated-box.ts'

const NONE: Policy = { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0 }

const at = (text: string): string => snapshotName(new Date(text))

/** `names` oldest first; guids g1, g2 ... */
const dataset = (...names: readonly string[]): Dataset => ({
  ...(inventory('tank:')[0] as Dataset),
  snapshots: names.map((name, n) => ({ name, guid: `g${n + 1}`, createtxg: BigInt(n + 1) })),
})

const doomed = (of: Dataset, policy: Partial<Policy>, common: string | undefined) =>
  decide(of, { ...NONE, ...policy }, common).flatMap(({ snapshot, keep }) => (keep ? [] : [snapshot]))

const reasons = (of: Dataset, policy: Partial<Policy>, common: string | undefined) =>
  decide(of, { ...NONE, ...policy }, common).map(({ reason }) => reason)

describe('what prune keeps', () => {
  const names = [
    at('2025-12-31T23:00:00Z'),
    at('2026-01-01T01:00:00Z'),
    at('2026-01-01T02:00:00Z'),
    at('2026-01-04T09:00:00Z'), // a Sunday
    at('2026-01-05T09:00:00Z'),
    at('2026-01-05T09:30:00Z'),
    at('2026-01-05T10:00:00Z'),
  ]
  const year = dataset(...names, 'newest')

  test('the newest of each period that counts, with the reason', () => {
    assert.deepEqual(reasons(year, { daily: 2 }, 'g8'), [
      'no period keeps it',
      'no period keeps it',
      'no period keeps it',
      'newest of 2026-01-04',
      'no period keeps it',
      'no period keeps it',
      'newest of 2026-01-05',
      'the next backup needs it',
    ])
    assert.deepEqual(
      doomed(year, { hourly: 2, yearly: 2 }, 'g8'),
      [1, 2, 3, 4].map((n) => names[n]),
    )
    assert.deepEqual(
      reasons(year, { weekly: 5 }, 'g8').filter((reason) => reason.startsWith('newest of')),
      ['newest of week of 2025-12-29', 'newest of week of 2026-01-05'],
    )
  })

  test('all that is newer than what the box has, and the one that the next backup begins from', () => {
    assert.deepEqual(doomed(year, {}, 'g3'), names.slice(0, 2))
    assert.deepEqual(reasons(year, {}, 'g3').slice(2), [
      'the next backup needs it',
      ...Array.from({ length: 5 }, () => 'not on the box yet'),
    ])
  })

  test('everything of a dataset that the box has nothing of', () => {
    assert.deepEqual(doomed(year, {}, undefined), [])
    assert.deepEqual(doomed(year, {}, 'g99'), [])
  })

  test('names that only look like knox’s', () => {
    const odd = [
      '2026-02-30T00:00:00Z',
      '2026-99-99T99:99:99Z',
      '2026-01-01T24:00:00Z',
      '2026-01-01T00:00:00Z-x',
    ]
    assert.deepEqual(doomed(dataset(...odd, 'common'), { weekly: 1 }, 'g5'), [])
  })

  test('what others took, and what is held', () => {
    const mixed = dataset('autosnap_2026-01-01_daily', names[0] ?? '', `${names[1] ?? ''}-2`, 'common')
    assert.deepEqual(doomed(mixed, {}, 'g4'), [names[0], `${names[1] ?? ''}-2`])
    const held = {
      ...mixed,
      snapshots: mixed.snapshots.map((one, n) => (n === 1 ? { ...one, held: true as const } : one)),
    }
    assert.deepEqual(reasons(held, {}, 'g4').slice(0, 2), ['not taken by knox', 'held'])
  })
})

test('for any history and policy: the chain stays, no period loses its newest, and a second run finds nothing', () => {
  const count = fc.nat({ max: 5 })
  const policy = fc.record({ hourly: count, daily: count, weekly: count, monthly: count, yearly: count })
  // hours, in the order in which they were taken: a clock may jump
  const hours = fc.uniqueArray(fc.nat({ max: 20_000 }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(hours, policy, fc.nat(), (history, keep, some) => {
      const names = history.map((hour) => at(new Date(hour * 3_600_000 + 1_500_000_000_000).toISOString()))
      const all = dataset(...names)
      const common = all.snapshots[some % names.length]?.guid
      const gone = new Set(doomed(all, keep, common))
      const left = { ...all, snapshots: all.snapshots.filter(({ name }) => !gone.has(name)) }
      assert.ok(left.snapshots.some(({ guid }) => guid === common))
      assert.equal(left.snapshots.at(-1)?.guid, all.snapshots.at(-1)?.guid)
      assert.deepEqual(doomed(left, keep, common), [])
      const days = new Set(names.map((name) => name.slice(0, 10))).size
      const daysLeft = new Set(left.snapshots.map(({ name }) => name.slice(0, 10))).size
      assert.ok(daysLeft >= Math.min(days, keep.daily))
    }),
  )
})
