import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { backup } from '../../../provision/runtime/backup.ts'
import { readDeletionState, writeDeletionState } from '../../../provision/runtime/deletion-state.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO } from '../../support/fake-box.ts'
import { homeBehind, listed, listedWith, type StubHome } from '../../support/stub-home.ts'

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const BYE = ['hear bye', 'say locked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
const DAY = 86_400_000

/** A home that has missed the box's snapshots `old` (7) and `older` (8) for so many days; a stream is 1000 bytes. */
const missing = async (t: TestContext, days: number): Promise<StubHome> => {
  const home = await homeBehind(t)
  const date = (ago: number) => new Date(Date.now() - ago * DAY).toISOString()
  const entry = { since: date(days), days, last: date(1).slice(0, 10) }
  await writeDeletionState(home.folder, { missing: { 7: entry, 8: entry }, datasets: {} })
  return home
}

const daysOf = async (home: StubHome) => {
  const { missing: entries } = await readDeletionState(home.folder)
  return Object.fromEntries(Object.entries(entries).map(([guid, { days }]) => [guid, days]))
}

const run = async (home: StubHome) => {
  const events: Event[] = []
  const report = await backup(home.config, { prove: false, accept: new Set() }, (event) => events.push(event))
  return { report, text: JSON.stringify(events) }
}

const OLD = 'bk: older=8 old=7 a=1'

describe('a box that is nearly full', () => {
  test('forgets what is due before it is sent to, and then has room', async (t) => {
    const home = await missing(t, 40)
    const forgets = ['hear destroy|bk|older|old', 'say ok', ...listed('bk: a=1')]
    const end = [...SENT, ...listed('bk: a=1 b=2'), ...BYE]
    await home.box([HELLO, ...UNLOCK, ...listedWith(400, OLD), ...forgets, ...end])
    const { report } = await run(home)
    assert.deepEqual([report.outcome, report.destroyed, report.problems], ['sent', 2, []])
    assert.deepEqual(await daysOf(home), {})
  })

  test('counts a day of the grace, although nothing fits and nothing is due', async (t) => {
    const home = await missing(t, 4)
    await home.box([HELLO, ...UNLOCK, ...listedWith(400, OLD), 'drain', 'say locked'])
    await assert.rejects(run(home), knoxError('no-space', /nothing was sent/))
    assert.deepEqual(await daysOf(home), { 7: 5, 8: 5 })
  })

  test('with room enough forgets only after all has arrived', async (t) => {
    const home = await missing(t, 40)
    const forgets = ['hear destroy|bk|older|old', 'say ok', ...listed('bk: a=1 b=2')]
    await home.box([
      ...[HELLO, ...UNLOCK, ...listed(OLD), ...SENT, ...listed(`${OLD} b=2`)],
      ...[...forgets, ...BYE],
    ])
    assert.equal((await run(home)).report.destroyed, 2)
  })

  test('touches nothing of a dataset that is about to be renamed, and forgets nothing of its grace', async (t) => {
    const home = await missing(t, 40)
    await home.zfs('wd: a=1 b=2', 'wd/new: c=3 d=4')
    const before = listedWith(400, 'bk: a=1', 'bk/was: older=8 old=7 c=3')
    await home.box([HELLO, ...UNLOCK, ...before, 'drain', 'say locked'])
    await assert.rejects(run(home), knoxError('no-space'))
    assert.deepEqual(await daysOf(home), { 7: 40, 8: 40 })
  })

  test('is not sent to if what can be estimated has no room, whatever the rest is', async (t) => {
    const home = await homeBehind(t)
    await home.zfs('wd: a=1 b=2', 'wd/x: c=3')
    await home.file('unknown', 'wd/x@c\n')
    await home.box([HELLO, ...UNLOCK, ...listedWith(999, 'bk: a=1'), 'drain', 'say locked'])
    const events: Event[] = []
    const accept = new Set<never>()
    await assert.rejects(
      backup(home.config, { prove: false, accept }, (event) => events.push(event)),
      knoxError('no-space', /room for 999 B, and 0\.98 KiB/),
    )
    assert.match(JSON.stringify(events), /does not say how much 1 of 2 streams are/)
  })
})
