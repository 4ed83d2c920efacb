import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { preview } from '../../../provision/runtime/preview.ts'
import { ignore } from '../../support/fake-box.ts'
import { homeBehind } from '../../support/stub-home.ts'

describe('a preview', () => {
  test('tells the streams of all datasets by the last receipt, and calls nobody (facts 11.16)', async (t) => {
    const home = await homeBehind(t)
    await home.zfs('wd: a=1 b=2', 'wd/new: c=3', 'wd/none:')
    const { streams, other, problems } = await preview(home.config, ignore, true)
    assert.deepEqual(
      streams.map(({ dataset, kind, bytes, changes }) => [dataset, kind, bytes, changes?.length]),
      [
        ['wd', 'incremental', 1000, 1],
        ['wd/new', 'full', 1000, undefined],
      ],
    )
    assert.deepEqual([other, problems.map(({ kind }) => kind)], [[], ['no-snapshot']])
    assert.deepEqual(
      (await home.calls()).filter((call) => /^ssh|^zfs send -P/.test(call)),
      [],
    )
  })
})
