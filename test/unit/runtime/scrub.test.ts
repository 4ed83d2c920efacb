import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readScrubState, scrub } from '../../../provision/runtime/scrub.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind } from '../../support/stub-home.ts'

const begin = (seconds: number) => [
  ...[HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked'],
  ...[`hear scrub|${seconds + 120}`, 'say ok'],
]
const BYE = ['hear bye', 'say locked']
const health = (...lines: readonly string[]) => [
  ...['hear health', ...lines.map((line) => `say health|${line}`), 'say end'],
]
const FINISHED = ' scan: scrub repaired 0 in 0h10m with 0 errors on Mon Nov 23 12:00:00 2026'

describe('a scrub', () => {
  test('whose zpool status does not answer in time is looked at again, and is no damage', async (t) => {
    const home = await homeBehind(t)
    const well = health(' state: ONLINE', FINISHED, 'errors: No known data errors')
    await home.box([...begin(30), ...health(), ...well, ...BYE])
    assert.equal((await scrub(home.config, 30, ignore)).scrub, 'finished')
  })

  test('that never answers ends as a disk that does not answer', async (t) => {
    const home = await homeBehind(t)
    await home.box([...begin(1), ...health(), ...health(), 'drain', 'say locked'])
    await assert.rejects(scrub(home.config, 1, ignore), knoxError('disk', /pool does not answer/))
    assert.equal(await readScrubState(home.folder), undefined)
  })

  test('that finds damage is exit 14, and is kept', async (t) => {
    const home = await homeBehind(t)
    await home.box([...begin(30), ...health(' state: DEGRADED', FINISHED, 'errors: 1 data errors'), ...BYE])
    await assert.rejects(scrub(home.config, 30, ignore), knoxError('verification', /its pool is DEGRADED/))
    assert.equal((await readScrubState(home.folder))?.state, 'DEGRADED')
  })
})
