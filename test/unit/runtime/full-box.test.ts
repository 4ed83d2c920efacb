import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { backup, type BackupOptions } from '../../../provision/runtime/backup.ts'
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

const run = async (home: StubHome, options: Partial<BackupOptions> = {}) => {
  const events: Event[] = []
  const all = { prove: false, accept: new Set<never>(), ...options }
  const report = await backup(home.config, all, (event) => events.push(event))
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

test('a consent is said once: the box forgets as many as it lets go in a day, and the rest in a later run', async (t) => {
  const home = await missing(t, 40)
  const entry = (await readDeletionState(home.folder)).missing[7]
  assert.ok(entry)
  const guids = Array.from({ length: 41 }, (_, n) => n + 100)
  await writeDeletionState(home.folder, {
    missing: Object.fromEntries(guids.map((guid) => [guid, entry])),
    datasets: {},
  })
  await home.zfs('wd: a=1')
  const lists = (from: number) =>
    listed(
      `bk: ${guids
        .map((guid) => `s${guid}=${guid} `)
        .slice(from)
        .join('')}a=1`,
    )
  const destroys = (from: number, count: number, answer = 'ok') => {
    const names = guids.slice(from, from + count).map((guid) => `s${guid}`)
    return [`hear destroy|bk|${names.join('|')}`, `say ${answer}`]
  }
  const LIMIT = 'failed limit no more than 20 snapshots can be destroyed in a day'

  await home.box([
    ...[HELLO, ...UNLOCK, ...lists(0), ...destroys(0, 16)],
    ...[...destroys(16, 16, LIMIT), ...destroys(16, 8, LIMIT), ...destroys(16, 4)],
    ...[...destroys(20, 4, LIMIT), ...destroys(20, 2, LIMIT), ...destroys(20, 1, LIMIT)],
    ...[...lists(20), ...BYE],
  ])
  const agreed = await run(home, { accept: new Set(['deletions'] as const) })
  assert.deepEqual([agreed.report.destroyed, agreed.report.problems], [20, []])
  assert.match(agreed.text, /destroys no more today[^"]*; 21 are left to later runs/)

  const rest = [...destroys(20, 16), ...destroys(36, 5), ...lists(41)]
  await home.box([HELLO, ...UNLOCK, ...lists(20), ...rest, ...BYE])
  const next = await run(home, { prove: true })
  assert.deepEqual([next.report.destroyed, next.report.problems], [21, []])
})
