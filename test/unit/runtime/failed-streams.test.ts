import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { backup } from '../../../provision/runtime/backup.ts'
import { readReceipt } from '../../../provision/runtime/receipt.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO } from '../../support/fake-box.ts'
import { homeBehind, listedWith, type StubHome } from '../../support/stub-home.ts'

/** A dataset that cannot be sent does not keep the others from the box, and is never taken for a success. */

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const listed = (...lines: readonly string[]) => listedWith(100_000, ...lines)
const BYE = ['hear bye', 'say locked']
const taken = (kind: string, dataset: string, guid: number) => [
  ...[`hear receive|${kind}|${dataset}`, 'say ready', 'take 1000', `say ok ${guid}`],
]
const broken = (kind: string, dataset: string) => [
  ...[`hear receive|${kind}|${dataset}`, 'say ready', 'drain'],
  ...['say failed receive incomplete stream', 'say locked'],
]

/** wd/x cannot be sent. */
const homeWith = async (t: TestContext, ...lines: readonly string[]): Promise<StubHome> => {
  const home = await homeBehind(t)
  await home.zfs(...lines)
  await home.file(
    'send',
    'case "$*" in *wd/x@*) echo "cannot send wd/x: I/O error" >&2; exit 1 ;; *) head -c 1000 /dev/zero ;; esac\n',
  )
  return home
}

const run = async (home: StubHome, events: Event[] = []) =>
  backup(home.config, { prove: false, accept: new Set() }, (event) => events.push(event))

const sessionsOf = async (home: StubHome) =>
  (await home.calls()).filter((call) => call.startsWith('ssh ') && call.endsWith('knox-send')).length

describe('a stream that fails', () => {
  test('is told, the others are sent and looked at by another session, and no receipt is written', async (t) => {
    const home = await homeWith(t, 'wd: a=1 b=2', 'wd/x: c=3 d=4', 'wd/x/y: e=5 f=6', 'wd/z: g=7 h=8')
    const first = [...taken('incremental', 'bk', 2), ...broken('incremental', 'bk/x')]
    await home.box([
      HELLO,
      ...UNLOCK,
      ...listed('bk: a=1', 'bk/x: c=3', 'bk/x/y: e=5', 'bk/z: g=7'),
      ...first,
    ])
    // what is below a dataset that the box has goes on: only its own next snapshot is missing
    const rest = [...taken('incremental', 'bk/x/y', 6), ...taken('incremental', 'bk/z', 8)]
    await home.boxAgain([
      ...[HELLO, ...UNLOCK, ...listed('bk: a=1 b=2', 'bk/x: c=3', 'bk/x/y: e=5', 'bk/z: g=7'), ...rest],
      ...[...listed('bk: a=1 b=2', 'bk/x: c=3', 'bk/x/y: e=5 f=6', 'bk/z: g=7 h=8'), ...BYE],
    ])
    const events: Event[] = []
    await assert.rejects(
      run(home, events),
      knoxError('send-failed', /bk\/x [^]*I\/O error[^]*the other 3 datasets are on the box; no receipt/),
    )
    const warnings = events.flatMap((event) => (event.type === 'warning' ? [event.text] : []))
    assert.match(warnings.join(), /bk\/x .*going on with the other datasets/)
    assert.equal((await readReceipt(home.folder))?.datasets[0]?.newest?.guid, '1')
    assert.equal(await sessionsOf(home), 2)
  })

  test('of a dataset that the box does not have leaves out what is below it too', async (t) => {
    const home = await homeWith(t, 'wd: b=2', 'wd/x: c=3', 'wd/x/y: d=4', 'wd/z: e=5')
    await home.box([HELLO, ...UNLOCK, ...listed('bk: b=2'), ...broken('full', 'bk/x')])
    const rest = [...taken('full', 'bk/z', 5), ...listed('bk: b=2', 'bk/x:', 'bk/z: e=5')]
    await home.boxAgain([HELLO, ...UNLOCK, ...listed('bk: b=2', 'bk/x:'), ...rest, ...BYE])
    await assert.rejects(run(home), knoxError('send-failed', /the other 2 datasets are on the box/))
  })

  test('with nothing behind it: what was sent before it is looked at all the same', async (t) => {
    const home = await homeWith(t, 'wd: a=1 b=2', 'wd/x: c=3')
    await home.box([
      ...[HELLO, ...UNLOCK, ...listed('bk: a=1'), ...taken('incremental', 'bk', 2)],
      ...broken('full', 'bk/x'),
    ])
    await home.boxAgain([HELLO, ...UNLOCK, ...listed('bk: a=1 b=2', 'bk/x:'), ...BYE])
    await assert.rejects(
      run(home),
      knoxError('send-failed', /I\/O error[^]*the other dataset is on the box[^]*home\.exclude/),
    )
    assert.equal(await sessionsOf(home), 2)
  })

  test('of the only dataset ends the run at once', async (t) => {
    const home = await homeWith(t, 'wd/x: c=3')
    await home.box([HELLO, ...UNLOCK, ...listed('bk:'), ...broken('full', 'bk/x')])
    await assert.rejects(run(home), knoxError('send-failed', /I\/O error[^]*home\.exclude/))
    assert.equal(await sessionsOf(home), 1)
  })

  test('is what the run ends with, whatever becomes of the others; but for what is graver', async (t) => {
    const lists = listed('bk: a=1 b=2', 'bk/z: e=5')
    for (const [again, code, text] of [
      [
        ['say failed busy another session', 'exit 75'],
        'send-failed',
        /others were not proved: the box is busy/,
      ],
      [
        [HELLO, ...UNLOCK, ...lists, ...taken('incremental', 'bk/z', 6), ...lists, ...BYE],
        'verification',
        /does not list what was sent: wd\/z@f/,
      ],
    ] as const) {
      const home = await homeWith(t, 'wd: a=1 b=2', 'wd/x: c=3', 'wd/z: e=5 f=6')
      const first = [...taken('incremental', 'bk', 2), ...broken('full', 'bk/x')]
      await home.box([HELLO, ...UNLOCK, ...listed('bk: a=1', 'bk/z: e=5'), ...first])
      await home.boxAgain(again)
      await assert.rejects(run(home), knoxError(code, text))
      assert.equal((await readReceipt(home.folder))?.datasets[0]?.newest?.guid, '1')
    }
  })
})
