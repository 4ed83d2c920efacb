import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { readScrubState, scrub } from '../../../provision/runtime/scrub.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind, type StubHome } from '../../support/stub-home.ts'

/** A scrub that home follows, against a box that says what zpool status says. */

const RUNNING =
  'scan: scrub in progress since Tue Nov 24 01:00:00 2026|  512M scanned, 0B repaired, 41.20% done'
const FINISHED = 'scan: scrub repaired 0B in 00:10:00 with 0 errors on Tue Nov 24 01:10:00 2026'
const ROTTEN = 'scan: scrub repaired 0B in 00:10:00 with 3 errors on Tue Nov 24 01:10:00 2026'
const FINE = 'errors: No known data errors'

/** What the box says of its pool, one look after another. */
const looks = (state: string, ...each: readonly (readonly string[])[]) =>
  each.flatMap((lines) => [
    'hear health',
    ...[`  state: ${state}`, ...lines].flatMap((line) => line.split('|')).map((line) => `say health|${line}`),
    'say end',
  ])

const boxScrubs = async (
  t: TestContext,
  seconds: number,
  ...script: readonly string[]
): Promise<StubHome> => {
  const home = await homeBehind(t)
  const unlocked = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
  await home.box([HELLO, ...unlocked, `hear scrub|${seconds + 120}`, 'say ok', ...script])
  return home
}

const BYE = ['hear bye', 'say locked']

describe('a scrub', () => {
  test('is followed to its end; the box gets the time, and some more to be locked by home', async (t) => {
    const home = await boxScrubs(t, 60, ...looks('ONLINE', [RUNNING, FINE], [FINISHED, FINE]), ...BYE)
    const state = await scrub(home.config, 60, ignore)
    assert.deepEqual([state.scrub, state.errors, state.finished], ['finished', 0, state.at])
    assert.deepEqual(await readScrubState(home.folder), state)
  })

  test('that is not over in its time is paused, and the disk is locked', async (t) => {
    const home = await boxScrubs(t, 1, ...looks('ONLINE', [RUNNING, FINE], [RUNNING, FINE]), ...BYE)
    const state = await scrub(home.config, 1, ignore)
    assert.deepEqual([state.scrub, state.percent, state.finished], ['paused', 41.2, null])
  })

  test('whose zpool status does not answer in time is looked at again, and is no damage', async (t) => {
    const nothing = ['hear health', 'say end']
    const home = await boxScrubs(t, 60, ...nothing, ...looks('ONLINE', [FINISHED, FINE]), ...BYE)
    assert.equal((await scrub(home.config, 60, ignore)).scrub, 'finished')
  })

  test('that never answers ends as a disk that does not answer', async (t) => {
    const nothing = ['hear health', 'say end']
    const home = await boxScrubs(t, 1, ...nothing, ...nothing, 'drain', 'say locked')
    await assert.rejects(scrub(home.config, 1, ignore), knoxError('disk', /pool does not answer/))
    assert.equal(await readScrubState(home.folder), undefined)
  })

  for (const [title, state, lines, text] of [
    ['errors', 'ONLINE', [ROTTEN, FINE], /3 errors/],
    ['a disk that fails', 'DEGRADED', [FINISHED, FINE], /pool is DEGRADED/],
    [
      'errors that it could repair',
      'ONLINE',
      [FINISHED, '  da0.eli  ONLINE  3  0  41', FINE],
      /41 in checksums/,
    ],
    [
      'a damaged file',
      'ONLINE',
      [FINISHED, 'errors: Permanent errors have been detected in the following files:', '  bk/photos:/cat'],
      /bk\/photos:\/cat/,
    ],
  ] as const)
    test(`that finds ${title} is verification, after the disk is locked, and is remembered`, async (t) => {
      const home = await boxScrubs(t, 60, ...looks(state, lines), ...BYE)
      await assert.rejects(scrub(home.config, 60, ignore), knoxError('verification', text))
      assert.equal((await readScrubState(home.folder))?.state, state)
    })

  test('during which the connection breaks is no result', async (t) => {
    const home = await boxScrubs(t, 60, 'hear health', 'exit 255')
    await assert.rejects(scrub(home.config, 60, ignore), knoxError('connection-lost'))
    assert.equal(await readScrubState(home.folder), undefined)
  })

  test('after which the box does not lock its disk is left-unlocked', async (t) => {
    const home = await boxScrubs(
      t,
      60,
      ...looks('ONLINE', [FINISHED, FINE]),
      'hear bye',
      'say failed lock da0 is busy',
    )
    await assert.rejects(scrub(home.config, 60, ignore), knoxError('left-unlocked'))
    assert.equal(await readScrubState(home.folder), undefined)
  })
})
