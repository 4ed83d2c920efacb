import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { backup } from '../../../provision/runtime/backup.ts'
import { readReceipt } from '../../../provision/runtime/receipt.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind, listed, type StubHome } from '../../support/stub-home.ts'

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const BYE = ['hear bye', 'say locked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
const TROUBLE = 'da0.eli is ONLINE, errors: 3 reading'

const ill = (...lines: readonly string[]) =>
  listed(...lines).map((line) => (line.startsWith('say bk|pool|') ? `${line}|WD1|${TROUBLE}` : line))

const run = (home: StubHome) => backup(home.config, { prove: false, accept: new Set() }, ignore)

describe('a box’s disk that begins to fail', () => {
  test('is told by the run that saw it, although all has arrived on it', async (t) => {
    const home = await homeBehind(t)
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...ill('bk: a=1 b=2'), ...BYE])
    const { outcome, problems, receipt } = await run(home)
    assert.deepEqual([outcome, problems.map(({ kind }) => kind)], ['sent', ['damage']])
    assert.equal(problems[0]?.message, `the box’s disk fails: ${TROUBLE}`)
    assert.deepEqual(await readReceipt(home.folder), receipt)
  })

  test('is looked at again by a run that has nothing to send, until all is well', async (t) => {
    const home = await homeBehind(t)
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...ill('bk: a=1 b=2'), ...BYE])
    await run(home)
    await home.box([HELLO, ...UNLOCK, ...ill('bk: a=1 b=2'), ...BYE])
    assert.deepEqual(
      (await run(home)).problems.map(({ kind }) => kind),
      ['damage'],
    )
    await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1 b=2'), ...BYE])
    assert.deepEqual((await run(home)).problems, [])
    await home.box([HELLO, ...BYE])
    assert.equal((await run(home)).outcome, 'nothing-to-send')
  })
})
