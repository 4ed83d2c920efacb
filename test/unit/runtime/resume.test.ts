import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { backup } from '../../../provision/runtime/backup.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { homeBehind, listed, type StubHome } from '../../support/stub-home.ts'

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const BYE = ['hear bye', 'say locked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']

const run = (home: StubHome, emit: (event: Event) => void = ignore) =>
  backup(home.config, { prove: false, accept: new Set() }, emit)

const callsOf = async (home: StubHome, pattern: RegExp) =>
  (await home.calls()).filter((call) => pattern.test(call))

describe('an interrupted stream', () => {
  const LIST = ['hear list', 'say bk|pool|77|1000|2000']
  const BROKEN = ['say bk|filesystem|90|1|-|1-a-b-c', 'say bk@a|snapshot|1|1', 'say end']
  const POINT = 'resume token contents:\n\ttoguid = 0x2\n\ttoname = wd@b\nfull\twd@b\t400\nsize\t400\n'

  test('goes on where it stopped, by the token that the box lists', async (t) => {
    const home = await homeBehind(t)
    await home.file('token', POINT)
    const rest = ['hear receive|resume|bk', 'say ready', 'take 1000', 'say ok 2']
    await home.box([HELLO, ...UNLOCK, ...LIST, ...BROKEN, ...rest, ...listed('bk: a=1 b=2'), ...BYE])
    assert.equal((await run(home)).outcome, 'sent')
    assert.deepEqual(await callsOf(home, /^zfs send -P/), ['zfs send -P -v -t 1-a-b-c'])
  })

  for (const [title, token] of [
    ['of another snapshot than home has', POINT.replace('0x2', '0x3')],
    ['of a dataset that is not backed up', POINT.replace('wd@b', 'secret@b')],
    ['that zfs cannot read', 'cannot resume send: corrupt token\n'],
    ['whose snapshot is gone', "cannot resume send: 'wd@b' used in the initial send no longer exists\n"],
    ['whose source is gone', 'cannot resume send: incremental source 0x1 no longer exists\n'],
    [
      'whose snapshot is another now',
      "cannot resume send: 'wd@b' is no longer the same snapshot used in the initial send\n",
    ],
  ] as const)
    test(`${title} is discarded, and all of it is sent`, async (t) => {
      const home = await homeBehind(t)
      await home.file('token', token)
      const again = ['hear discard|bk', 'say ok', ...listed('bk: a=1')]
      await home.box([
        ...[HELLO, ...UNLOCK, ...LIST, ...BROKEN, ...again, ...SENT],
        ...[...listed('bk: a=1 b=2'), ...BYE],
      ])
      const notes: string[] = []
      await run(home, (event) => {
        if (event.type === 'note') notes.push(event.text)
      })
      assert.match(notes.join(), /no longer at home: it is discarded/)
      assert.deepEqual(await callsOf(home, /^zfs send -P/), ['zfs send -P -v -p -I @a wd@b'])
    })

  for (const [title, token, code, text] of [
    ['for lack of a right', 'cannot resume send: permission denied\n', 'platform', /does not let this user/],
    ['in another way', 'cannot resume send: I/O error\n', 'failed', /I\/O error/],
    ['without a word', '\n', 'failed', /does not say/],
  ] as const)
    test(`that cannot be read ${title} fails the run, and is not discarded`, async (t) => {
      const home = await homeBehind(t)
      await home.file('token', token)
      await home.box([HELLO, ...UNLOCK, ...LIST, ...BROKEN, 'drain', 'say locked'])
      await assert.rejects(run(home), knoxError(code, text))
      await assert.rejects(
        run(home),
        knoxError(code, /arrive in bk could not be read.*nothing was discarded/s),
      )
    })

  test('whose token is no token is not believed', async (t) => {
    const home = await homeBehind(t)
    for (const token of ['-t', '1-a-b', '1-a-b-c;id', '--help', `1-a-b-${'c'.repeat(20_000)}`]) {
      await home.box([HELLO, ...UNLOCK, ...LIST, `say bk|filesystem|90|1|-|${token}`, 'say end', 'drain'])
      await assert.rejects(run(home), knoxError('verification', /not understood/), token)
    }
    assert.deepEqual(await callsOf(home, /^zfs send/), [])
  })
})
