import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { describePreview } from '../../../provision/cli/describe.ts'
import { progressLine } from '../../../provision/cli/event-line.ts'
import { reporterFor } from '../../../provision/cli/reporter.ts'
import type { Event } from '../../../provision/core/events.ts'

type Progress = Extract<Event, { type: 'progress' }>

const MIB = 1024 * 1024
const progress = (more: Partial<Progress> = {}): Progress => ({
  type: 'progress',
  dataset: 'wd/two words',
  bytes: 1 * MIB,
  of: 2 * MIB,
  totalBytes: 10 * MIB,
  totalOf: 100 * MIB,
  seconds: 5,
  ...more,
})

const written = async (
  style: { json?: boolean; verbose?: boolean },
  events: readonly Event[],
): Promise<string> => {
  let text = ''
  const { emit } = await reporterFor(
    { json: false, verbose: false, terminal: false, ...style },
    (more) => (text += more),
  )
  for (const event of events) emit(event)
  return text
}

describe('a line of progress', () => {
  test('tells the dataset, how much of how much, how fast, and how long yet', () => {
    assert.equal(progressLine(progress()), 'wd/two words: 10.0 MiB of 100 MiB, 2.0 MiB/s, 45 s left')
  })

  test('leaves out what is not known, or no longer true', () => {
    assert.equal(progressLine(progress({ totalOf: undefined })), 'wd/two words: 10.0 MiB, 2.0 MiB/s')
    assert.equal(progressLine(progress({ totalBytes: 0, seconds: 0 })), 'wd/two words: 0 B of 100 MiB, 0 B/s')
    // an estimate that was too small
    assert.equal(
      progressLine(progress({ totalBytes: 200 * MIB })),
      'wd/two words: 200 MiB of 100 MiB, 40.0 MiB/s',
    )
  })

  test('is short, and free of NaN and Infinity, whatever the numbers', () => {
    const size = fc.bigInt({ min: 0n, max: 2n ** 60n }).map(Number)
    const maybe = fc.option(size, { nil: undefined })
    const time = fc.integer({ min: 0, max: 10 ** 9 }).map((ms) => ms / 1000)
    fc.assert(
      fc.property(size, maybe, time, (totalBytes, totalOf, seconds) => {
        const line = progressLine(progress({ totalBytes, totalOf, seconds }))
        return line.length < 120 && !/NaN|Infinity|undefined|e\+/.test(line)
      }),
    )
  })
})

describe('a report in plain lines', () => {
  test('shows progress only now and then, so that a log stays readable', async () => {
    const events = Array.from({ length: 100 }, (_, n) => progress({ seconds: n }))
    assert.equal((await written({}, events)).trim().split('\n').length, 3)
  })

  test('says a step once, unless its end says more', async () => {
    const step = (title: string): Event => ({ type: 'step', title })
    const done = (title: string): Event => ({ type: 'done', title })
    const events = [step('encrypting'), done('encrypting'), step('unlocking'), done('the disk is unlocked')]
    assert.equal(await written({}, events), 'encrypting ...\nunlocking ...\nthe disk is unlocked\n')
  })

  test('shows commands only if asked, quoted so that they can be copied', async () => {
    const command: Event = { type: 'command', argv: ['zfs', 'send', 'wd/two words@a'], where: 'home' }
    assert.equal(await written({}, [command]), '')
    assert.equal(await written({ verbose: true }, [command]), "home$ zfs send 'wd/two words@a'\n")
  })

  test('as JSON is one event a line', async () => {
    const events: readonly Event[] = [progress(), { type: 'note', text: 'two\nlines' }]
    const lines = (await written({ json: true }, events)).trim().split('\n')
    assert.deepEqual(
      lines.map((line) => JSON.parse(line) as unknown),
      events,
    )
  })
})

describe('a preview in words', () => {
  const stream = (more = {}) => ({
    dataset: 'wd/two words',
    kind: 'incremental' as const,
    from: 'a',
    to: 'b',
    bytes: 2048,
    changes: undefined,
    ...more,
  })

  test('tells each stream, its files, and the sum', () => {
    const changes = [
      { kind: 'R' as const, path: '/wd/a\u001b', renamedTo: '/wd/b' },
      { kind: '+' as const, path: '/wd/grün', renamedTo: undefined },
    ]
    const text = describePreview({
      streams: [stream({ changes }), stream({ from: undefined, bytes: undefined })],
      other: [],
      problems: [],
    })
    assert.match(text, /^wd\/two words: @a to @b, 2\.0 KiB$/m)
    assert.match(text, /^ {4}renamed {2}\/wd\/a\? -> \/wd\/b$/m)
    assert.match(text, /^ {4}new +\/wd\/grün$/m)
    assert.match(text, /^wd\/two words: all of @b, size unknown$/m)
    assert.match(text, /^2 streams, 2\.0 KiB in all$/m)
  })

  test('cuts a long list of files, and says how many more there are', () => {
    const changes = Array.from({ length: 73 }, (_, n) => ({
      kind: 'M' as const,
      path: `/wd/${n}`,
      renamedTo: undefined,
    }))
    const text = describePreview({ streams: [stream({ changes })], other: [], problems: [] })
    assert.match(text, /\.\.\. and 23 more files/)
    assert.equal(text.split('\n').length, 53)
  })

  test('with nothing to do says so, and names what stands in the way', () => {
    const problem = {
      dataset: 'wd/x',
      kind: 'diverged' as const,
      message: 'wd/x went another way',
      hint: 'rename it',
    }
    const other = [
      { step: 'rename' as const, from: 'bk/a', to: 'bk/b' },
      { step: 'place' as const, dataset: 'bk/c' },
    ]
    assert.equal(describePreview({ streams: [], other: [], problems: [] }), 'nothing to send')
    assert.match(
      describePreview({ streams: [], other, problems: [problem] }),
      /went another way\n +rename it\nrename on the box: bk\/a to bk\/b\nnew and empty on the box: bk\/c/,
    )
  })
})
