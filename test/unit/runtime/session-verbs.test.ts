import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Event } from '../../../provision/core/events.ts'
import { destroyOnBox } from '../../../provision/runtime/destroy-on-box.ts'
import { startSession, type Session } from '../../../provision/runtime/session.ts'
import { KnoxError } from '../../../provision/core/errors.ts'
import { knoxError } from '../../support/expect.ts'
import { fakeBox, HELLO, limitsOf } from '../../support/fake-box.ts'

const SUM = 'a'.repeat(64)

const talk = (...script: readonly string[]) => startSession(fakeBox(HELLO, ...script), 'knox', limitsOf(10))

describe('a session’s verbs beside the streams', { concurrency: true }, () => {
  test('destroy, look, hash, scrub and health say what docs/session.md says', async () => {
    const session = await talk(
      ...['hear destroy|wd/a b|s1|s2', 'say ok', 'hear look|wd/a b|s3', 'say ok'],
      ...[
        'hear hash|2015/cat\\0012.jpg',
        `say ok ${SUM}`,
        'hear hash|gone',
        'say failed missing there is none',
      ],
      ...['hear hash|bad', 'say failed unreadable sha256: Input/output error'],
      ...['hear scrub|600', 'say ok', 'hear health', 'say health|  pool: wd', 'say health||NAME', 'say end'],
      ...['hear bye', 'say locked'],
    )
    await session.destroy('wd/a b', ['s1', 's2'])
    await session.look('wd/a b', 's3')
    assert.equal(await session.hash('2015/cat\\0012.jpg', 10), SUM)
    assert.equal(await session.hash('gone', 10), 'missing')
    assert.equal(await session.hash('bad', 10), 'unreadable')
    await session.scrub(600)
    assert.deepEqual(await session.health(), ['  pool: wd', '\tNAME'])
    await session.bye()
  })

  test('a box that is at its limit, or says something else, is told as that', async () => {
    const limited = await talk('hear destroy|wd|a', 'say failed limit no more than 20 snapshots')
    await assert.rejects(limited.destroy('wd', ['a']), knoxError('refused', /no more today.*no more than 20/))
    for (const [said, code] of [
      ['ok 12', 'verification'],
      [`ok ${SUM}x`, 'verification'],
      ['failed usage not a path', 'failed'],
    ] as const) {
      const session = await talk('hear hash|x', `say ${said}`)
      await assert.rejects(session.hash('x', 1), knoxError(code), said)
    }
    const endless = await talk('hear health', 'say ready')
    await assert.rejects(endless.health(), knoxError('verification'))
  })

  test('a box that never answers is given up', async () => {
    const session = await startSession(fakeBox(HELLO, 'hear hash|x', 'sleep 30'), 'knox', limitsOf(1))
    await assert.rejects(session.hash('x', 0), knoxError('connection-lost', /did not answer for/))
  })
})

describe('destroying on the box', () => {
  const box = (answer: (names: readonly string[]) => void) => {
    const asked: (readonly string[])[] = []
    const session = {
      destroy: (_: string, names: readonly string[]) => {
        asked.push(names)
        return Promise.resolve().then(() => answer(names))
      },
    } as unknown as Session
    return { asked, session }
  }
  const names = Array.from({ length: 100 }, (_, n) => `2026-01-01T00:00:00Z-${n}-${'x'.repeat(100)}`)

  test('comes in lines that the box takes, and counts what went', async () => {
    const { asked, session } = box(() => undefined)
    assert.equal(await destroyOnBox(session, [{ dataset: 'wd', snapshots: names }], () => undefined), 100)
    assert.deepEqual(asked.flat(), names)
    for (const line of asked) assert.ok(line.join('\t').length < 3500 && line.length <= 40)
  })

  test('fits the longest names that zfs knows into a line of the box', async () => {
    for (const dataset of ['w', 'w'.repeat(127), 'w'.repeat(252)]) {
      const { asked, session } = box(() => undefined)
      const longest = Array.from({ length: 50 }, (_, n) => String(n).padStart(254 - dataset.length, 'x'))
      await destroyOnBox(session, [{ dataset, snapshots: longest }], () => undefined)
      for (const line of asked) assert.ok(['destroy', dataset, ...line].join('\t').length <= 4096)
    }
  })

  test('uses up what the box allows in a day, however little of it is left', async () => {
    for (const left of [0, 1, 7, 19, 20, 25, 99, 100, 500]) {
      let spent = 0
      // all names of a line or none, as the box does it
      const { asked, session } = box((some) => {
        if (spent + some.length > left) throw new KnoxError('refused', 'no more today')
        spent += some.length
      })
      const doomed = [names.slice(0, 70), names.slice(70, 71), names.slice(71)].map((snapshots, n) => ({
        dataset: `wd/${n}`,
        snapshots,
      }))
      const events: Event[] = []
      const went = await destroyOnBox(session, doomed, (event) => events.push(event))
      assert.deepEqual([went, spent], [Math.min(left, 100), Math.min(left, 100)])
      assert.equal(events.length, left < 100 ? 1 : 0)
      assert.ok(asked.length < 20, `${asked.length} lines`)
    }
  })

  test('ends at the box’s limit; what it refuses otherwise is a warning; a broken connection is an error', async () => {
    const events: Event[] = []
    const limited = box((some) => {
      if (some.includes(names[60] ?? '')) throw new KnoxError('refused', 'no more today')
    })
    const went = await destroyOnBox(limited.session, [{ dataset: 'wd', snapshots: names }], (event) =>
      events.push(event),
    )
    assert.ok(went > 0 && went < 61)
    assert.deepEqual(
      events.map(({ type }) => type),
      ['note'],
    )
    const held = box((some) => {
      if (some.includes('b')) throw new KnoxError('receive-failed', 'the box refuses: held', ['run it again'])
    })
    const doomed = ['a', 'b', 'c'].map((name) => ({ dataset: `wd/${name}`, snapshots: [name] }))
    assert.equal(await destroyOnBox(held.session, doomed, (event) => events.push(event)), 2)
    assert.equal(events.at(-1)?.type, 'warning')
    const broken = box(() => {
      throw new KnoxError('connection-lost', 'gone')
    })
    await assert.rejects(
      destroyOnBox(broken.session, doomed, () => undefined),
      knoxError('connection-lost'),
    )
  })
})
