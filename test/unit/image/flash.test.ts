import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { KnoxError } from '../../../provision/core/errors.ts'
import type { Event } from '../../../provision/core/events.ts'
import { flashImage } from '../../../provision/image/flash.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { systemError, type FakeDrive } from '../../support/fake-drive.ts'
import {
  BLOCK,
  SECTOR,
  cases,
  chunksOf,
  contentOf,
  driveOf,
  filled,
  flash,
  hasHead,
  looksRight,
  outcome,
  wanted,
} from '../../support/flash-cases.ts'

describe('flashing', () => {
  test('leaves the image on the drive, and zeros where old labels may be, whatever was there', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async (one) => {
        const drive = driveOf(one)
        await flash(drive, one)
        assert.ok(drive.content.equals(wanted(one)))
        assert.ok(drive.busiest() <= 2)
      }),
      { numRuns: 300 },
    )
  })

  test('does not write zeros on a blank drive', async () => {
    const image = Buffer.concat([
      filled(1, 4 * BLOCK),
      filled(0, 100 * BLOCK),
      filled(2, BLOCK),
      filled(0, 95 * BLOCK),
    ])
    const one = { image, chunk: 4 * BLOCK, prior: Buffer.alloc(image.length) }
    const drive = driveOf(one)
    const { skippedZeros, clearedBytes } = await flash(drive, one)
    assert.deepEqual([skippedZeros, clearedBytes], [true, 0])
    // the head is taken away at first, and comes back when all else is safe on the drive
    assert.deepEqual(drive.log, [
      ...[`write 0 ${4 * BLOCK}`, 'flush'],
      ...[`write ${104 * BLOCK} ${BLOCK}`, 'flush'],
      ...[`write 0 ${4 * BLOCK}`, 'flush'],
    ])
  })

  test('writes zeros that were left out and were none, then reads all once more', async () => {
    const image = Buffer.concat([filled(1, 4 * BLOCK), filled(0, 100 * BLOCK)])
    const one = { image, chunk: 4 * BLOCK, prior: Buffer.alloc(image.length) }
    one.prior[60 * BLOCK + 5] = 7
    const drive = driveOf(one)
    const events: Event[] = []
    const { skippedZeros, clearedBytes } = await flash(drive, one, { emit: (event) => events.push(event) })
    assert.ok(skippedZeros && clearedBytes >= BLOCK)
    assert.ok(drive.content.equals(image))
    assert.deepEqual(
      events.filter(({ type }) => type !== 'progress').map((event) => ('title' in event ? event.title : '')),
      [
        'writing /dev/fake',
        '/dev/fake is written',
        'reading /dev/fake back',
        '/dev/fake was read back and is right',
      ],
    )
  })

  test('on a drive full of old data writes all at once', async () => {
    const image = Buffer.concat([filled(1, 4 * BLOCK), filled(0, 100 * BLOCK)])
    const one = { image, chunk: 4 * BLOCK, prior: filled(3, image.length) }
    const { skippedZeros, clearedBytes } = await flash(driveOf(one), one)
    assert.deepEqual([skippedZeros, clearedBytes], [false, 0])
  })
})

describe('a drive that lies', () => {
  test('by dropping writes is never taken for right, and does not keep a partition table', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 1, max: 40 }), fc.boolean(), async (one, first, forever) => {
        const keeps = (write: number) => (forever ? write < first : write !== first)
        const drive = driveOf(one, { keeps })
        const ended = await outcome(flash(drive, one))
        if (!(ended instanceof KnoxError)) {
          assert.ok(drive.content.equals(wanted(one)))
          return
        }
        assert.equal(ended.code, 'verification')
        assert.match(ended.message, /^byte \d+ of \/dev\/fake is not what was written there$/)
        if (!forever) assert.ok(!hasHead(drive, one))
      }),
      { numRuns: 300 },
    )
  })

  test('is told by the first byte that is wrong', async () => {
    const image = filled(1, 20 * BLOCK)
    for (const at of [0, 1, 5 * BLOCK, 13 * BLOCK + 77, image.length - 1]) {
      const one = { image, chunk: 4 * BLOCK, prior: filled(2, image.length) }
      const drive = driveOf(one)
      const read = async (offset: number, into: Buffer) => {
        await fakeRead(offset, into)
        if (offset <= at && at < offset + into.length) into[at - offset] = (into[at - offset] ?? 0) ^ 0x10
      }
      const fakeRead = drive.read
      const error = await thrownBy(() => flash({ ...drive, read }, one))
      assert.ok(knoxError('verification', new RegExp(`^byte ${at} of`))(error))
      assert.ok(drive.content.subarray(0, image.length).every((byte) => byte === 0))
    }
  })

  test('about its size, so that far bytes land on near ones, is never taken for right', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.double({ min: 0.1, max: 0.95, noNaN: true }), async (one, share) => {
        const real = Math.max(Math.floor((one.prior.length * share) / SECTOR), 1) * SECTOR
        const drive = driveOf(one, { place: (offset) => offset % real })
        const ended = await outcome(flash(drive, one))
        if (ended instanceof KnoxError) assert.equal(ended.code, 'verification')
        else assert.ok((await contentOf(drive)).subarray(0, one.image.length).equals(one.image))
      }),
      { numRuns: 300 },
    )
  })
})

describe('a drive that is pulled out or fails', () => {
  test('at any moment is an error of the drive that says so, and nothing looks finished', async () => {
    await fc.assert(
      fc.asyncProperty(
        cases,
        fc.integer({ min: 1, max: 200 }),
        fc.constantFrom('EIO', 'ENXIO', 'ENODEV'),
        fc.boolean(),
        async (one, last, code, forever) => {
          const before = (operation: number) => {
            if (forever ? operation >= last : operation === last) throw systemError(code)
          }
          const drive = driveOf(one, { before })
          const ended = await outcome(flash(drive, one))
          if (!(ended instanceof KnoxError)) {
            assert.ok(drive.content.equals(wanted(one)))
            return
          }
          assert.equal(ended.code, 'disk')
          assert.match(ended.message, new RegExp(`^the drive stopped .* \\(${code}\\)$`))
          assert.ok(looksRight(drive, one))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('a failed write ends it there: no other is started', async () => {
    const image = filled(1, 100 * BLOCK)
    const one = { image, chunk: BLOCK, prior: filled(2, image.length) }
    const drive = driveOf(one)
    let tried = 0
    const write = (offset: number, data: Buffer) => {
      tried += 1
      return offset === 50 * BLOCK ? Promise.reject(systemError('EIO')) : drive.write(offset, data)
    }
    const error = await thrownBy(() => flash({ ...drive, write }, one))
    assert.ok(knoxError('disk', new RegExp(`stopped writing at byte ${50 * BLOCK} \\(EIO\\)`))(error))
    assert.ok(tried <= 54, String(tried))
  })
})

describe('an owner who wants an end', () => {
  test('gets it at any moment, and nothing looks finished', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.integer({ min: 1, max: 120 }), async (one, moment) => {
        const stop = new AbortController()
        const drive = driveOf(one, {
          before: (operation) => (operation === moment ? stop.abort() : undefined),
        })
        const ended = await outcome(flash(drive, one, { signal: stop.signal }))
        if (!(ended instanceof KnoxError)) {
          assert.ok(drive.content.equals(wanted(one)))
          return
        }
        assert.equal(ended.code, 'interrupted')
        assert.ok(looksRight(drive, one))
      }),
      { numRuns: 200 },
    )
  })

  test('while it is read back: what was on the drive between the data does not start', async () => {
    const image = Buffer.concat([filled(1, 4 * BLOCK), filled(0, 100 * BLOCK)])
    for (const prior of [Buffer.alloc(image.length), filled(3, image.length)]) {
      prior[60 * BLOCK + 5] = 7
      const one = { image, chunk: 4 * BLOCK, prior }
      const drive = driveOf(one)
      const stop = new AbortController()
      const emit = (event: Event) => {
        if ('title' in event && event.title === 'reading /dev/fake back') stop.abort()
      }
      assert.ok(
        knoxError('interrupted')(await thrownBy(() => flash(drive, one, { signal: stop.signal, emit }))),
      )
      assert.ok(!drive.content.subarray(0, one.chunk).equals(image.subarray(0, one.chunk)))
    }
  })
})

describe('an image that changes or breaks while it is written', () => {
  const image = filled(1, 20 * BLOCK)
  const one = { image, chunk: 4 * BLOCK, prior: filled(2, image.length) }

  const flashOf = (drive: FakeDrive, chunks: () => AsyncGenerator<Buffer>) =>
    flashImage({
      image: { bytes: image.length, chunks },
      drive,
      name: '/dev/fake',
      emit: () => undefined,
      signal: new AbortController().signal,
      block: BLOCK,
    })

  test('damaged in the middle: says so, and that the drive is not complete', async () => {
    const drive = driveOf(one)
    const error = await thrownBy(() =>
      flashOf(drive, async function* () {
        yield* chunksOf(image.subarray(0, 12 * BLOCK), one.chunk)
        throw new KnoxError('verification', 'the image is damaged', ['fetch it again'])
      }),
    )
    assert.ok(
      knoxError('verification', /the image is damaged\nfetch it again\n\/dev\/fake is not complete/)(error),
    )
    assert.ok(!hasHead(drive, one))
  })

  test('another one when it is read again', async () => {
    let times = 0
    const error = await thrownBy(() =>
      flashOf(driveOf(one), () => {
        times += 1
        const now = Buffer.from(image)
        if (times > 1) now[9 * BLOCK] = 0
        return chunksOf(now, one.chunk)
      }),
    )
    assert.ok(knoxError('verification', new RegExp(`^byte ${9 * BLOCK} `))(error))
  })

  test('another beginning when it is read again', async () => {
    let times = 0
    const drive = driveOf(one)
    const error = await thrownBy(() =>
      flashOf(drive, () => {
        times += 1
        const now = Buffer.from(image)
        if (times > 1) now[77] = 0
        return chunksOf(now, one.chunk)
      }),
    )
    assert.ok(knoxError('verification', /^byte 77 /)(error))
    assert.ok(!hasHead(drive, one))
  })
})
