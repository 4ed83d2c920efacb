import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { connected } from './client.ts'
import { memory, start, type Memory } from './devices.ts'

const [READ, WRITE] = [0, 1] as const
const SIZE = 100_003
const SECTOR = 4096

/** A device that, as a disk with encryption does, reads and writes whole sectors, and takes its time for each step. */
const inSectors = (plain: Memory, delays: readonly number[]): BlockDevice => {
  let step = 0
  const pause = async () => {
    step += 1
    const ticks = delays[step % Math.max(1, delays.length)] ?? 0
    if (ticks > 3) await sleep(ticks - 3)
    else for (let tick = 0; tick < ticks; tick += 1) await new Promise(setImmediate)
  }
  return {
    ...plain,
    read: async (offset, length) => {
      const parts: Buffer[] = []
      for (let at = offset; at < offset + length;) {
        const end = Math.min(at - (at % SECTOR) + SECTOR, offset + length)
        parts.push(await plain.read(at, end - at))
        await pause()
        at = end
      }
      return Buffer.concat(parts)
    },
    write: async (offset, data) => {
      const start = offset - (offset % SECTOR)
      const end = Math.min(SIZE, Math.ceil((offset + data.length) / SECTOR) * SECTOR)
      const whole = await plain.read(start, end - start)
      await pause()
      data.copy(whole, offset - start)
      for (let at = 0; at < whole.length; at += SECTOR) {
        await plain.write?.(start + at, whole.subarray(at, at + SECTOR))
        await pause()
      }
    },
  }
}

const place = (from: number, to: number) =>
  fc
    .tuple(fc.nat(to - from), fc.oneof(fc.nat(100), fc.nat(20_000)))
    .map(([offset, length]) => ({ offset: from + offset, length: Math.min(length, to - from - offset) }))
const jobs = (from: number, to: number) =>
  fc.array(fc.record({ place: place(from, to), isWrite: fc.boolean(), fill: fc.nat(255) }), { maxLength: 25 })
const delays = fc.array(fc.nat(5), { maxLength: 50 })

type Job = { place: { offset: number; length: number }; isWrite: boolean; fill: number }

/** Sends all at once; what they give, and what they would have given one after the other. */
const runAll = async (
  ask: Awaited<ReturnType<typeof connected>>['ask'],
  todo: readonly Job[],
  model: Buffer,
): Promise<void> => {
  const wanted: Buffer[] = []
  const answers = todo.map(({ place: { offset, length }, isWrite, fill }) => {
    if (isWrite) model.fill(fill, offset, offset + length)
    wanted.push(Buffer.from(isWrite ? '' : model.subarray(offset, offset + length)))
    return ask(
      isWrite
        ? { command: WRITE, offset, payload: Buffer.alloc(length, fill) }
        : { command: READ, offset, length },
    )
  })
  for (const [n, answer] of (await Promise.all(answers)).entries()) {
    assert.equal(answer.error, 0)
    assert.ok(answer.data.equals(wanted[n] ?? assert.fail()), `answer ${n}`)
  }
}

describe('a device that is served', () => {
  test('is a plain buffer: reads and writes of any size and place, all in flight at once', async (t) => {
    await fc.assert(
      fc.asyncProperty(jobs(0, SIZE), delays, async (todo, pauses) => {
        const plain = memory(SIZE)
        const model = Buffer.from(plain.bytes)
        const server = await start(t, inSectors(plain, pauses), { readOnly: false })
        const { ask } = await connected(server.path)
        await runAll(ask, todo, model)
        assert.ok(plain.bytes.equals(model))
        assert.equal(server.inFlight(), 0)
        await server.stop(0.1)
      }),
      { numRuns: 60 },
    )
  })

  test('the same over several connections, each with its own part of it, some sectors with two', async (t) => {
    const parts = fc.tuple(jobs(0, 30_001), jobs(30_001, 30_500), jobs(30_500, SIZE))
    await fc.assert(
      fc.asyncProperty(parts, delays, async (all, pauses) => {
        const plain = memory(SIZE)
        const model = Buffer.from(plain.bytes)
        const server = await start(t, inSectors(plain, pauses), {
          readOnly: false,
          limits: { share: 8000 },
        })
        await Promise.all(all.map(async (todo) => runAll((await connected(server.path)).ask, todo, model)))
        assert.ok(plain.bytes.equals(model))
        assert.equal(server.inFlight(), 0)
        await server.stop(0.1)
      }),
      { numRuns: 60 },
    )
  })

  test('read-only, to many readers at once', async (t) => {
    const plain = memory(SIZE)
    const server = await start(t, inSectors(plain, [0, 1, 5]))
    const readers = await Promise.all(Array.from({ length: 6 }, () => connected(server.path)))
    const reads = fc.array(place(0, SIZE), { minLength: 6, maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(reads, async (places) => {
        await Promise.all(
          places.map(async ({ offset, length }, n) => {
            const { ask } = readers[n % readers.length] ?? assert.fail()
            const { error, data } = await ask({ command: READ, offset, length })
            assert.ok(error === 0 && data.equals(plain.bytes.subarray(offset, offset + length)))
          }),
        )
      }),
      { numRuns: 30 },
    )
  })
})
