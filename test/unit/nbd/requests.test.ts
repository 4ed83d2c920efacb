import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { dial, go, request, takeSimple } from './client.ts'
import { memory, start } from './devices.ts'

const [READ, WRITE, DISCONNECT, FLUSH] = [0, 1, 2, 3] as const
const [EPERM, EIO, EINVAL, ENOSPC] = [1, 5, 22, 28] as const

describe('requests', () => {
  test('reads and writes of any size and place equal those of a plain buffer', async (t) => {
    const device = memory(300_000)
    const model = Buffer.from(device.bytes)
    const server = await start(t, device, { readOnly: false })
    const client = await dial(server.path)
    await go(client)
    let cookie = 0n
    const place = fc.tuple(fc.nat(300_000), fc.nat(200_000)).map(([offset, length]) => ({
      offset,
      length: Math.min(length, 300_000 - offset),
    }))
    await fc.assert(
      fc.asyncProperty(place, fc.boolean(), async ({ offset, length }, isWrite) => {
        cookie += 1n
        if (isWrite) {
          const payload = Buffer.alloc(length, Number(cookie % 251n))
          payload.copy(model, offset)
          client.send(request({ command: WRITE, cookie, offset, payload }))
          assert.deepEqual(await takeSimple(client), { error: 0, cookie })
        } else {
          client.send(request({ command: READ, cookie, offset, length }))
          assert.deepEqual(await takeSimple(client), { error: 0, cookie })
          assert.ok((await client.take(length)).equals(model.subarray(offset, offset + length)))
        }
      }),
      { numRuns: 150 },
    )
    assert.ok(device.bytes.equals(model))
  })

  test('that cannot be done each have their error, and the connection goes on', async (t) => {
    const size = 5000
    const writable = await dial((await start(t, memory(size), { readOnly: false })).path)
    const locked = await dial((await start(t, memory(size))).path)
    await go(writable)
    await go(locked)
    const payload = Buffer.alloc(100)
    const cases = [
      [writable, { command: READ, offset: 4999, length: 2 }, EINVAL],
      [writable, { command: READ, offset: 2n ** 64n - 1n, length: 1 }, EINVAL],
      [writable, { command: READ, length: 2 ** 31 }, EINVAL],
      [writable, { command: WRITE, offset: 4950, payload }, ENOSPC],
      [writable, { command: READ, length: 1, flags: 4 }, EINVAL],
      [writable, { command: 4, length: 10 }, EINVAL],
      [writable, { command: 6, length: 10 }, EINVAL],
      [writable, { command: 777 }, EINVAL],
      [locked, { command: WRITE, offset: 0, payload }, EPERM],
    ] as const
    for (const [index, [client, ask, error]] of cases.entries()) {
      client.send(request({ ...ask, cookie: BigInt(index) }))
      assert.deepEqual(await takeSimple(client), { error, cookie: BigInt(index) })
    }
    for (const client of [writable, locked]) {
      client.send(request({ command: READ, cookie: 99n, offset: 4999, length: 1 }))
      assert.deepEqual(await takeSimple(client), { error: 0, cookie: 99n })
      await client.take(1)
      client.send(request({ command: DISCONNECT, cookie: 0n }))
      assert.equal((await client.end()).length, 0)
    }
  })

  test('of a device that fails are EIO', async (t) => {
    const device: BlockDevice = { ...memory(512), read: () => Promise.reject(new Error('bad sector')) }
    const client = await dial((await start(t, device)).path)
    await go(client)
    client.send(request({ command: READ, cookie: 1n, length: 10 }))
    assert.deepEqual(await takeSimple(client), { error: EIO, cookie: 1n })
  })

  test('are answered out of order, a slow one does not hold up the others', async (t) => {
    const plain = memory(4096)
    const read: BlockDevice['read'] = async (offset, length) => {
      if (offset === 0) await sleep(200)
      return plain.read(offset, length)
    }
    const client = await dial((await start(t, { ...plain, read })).path)
    await go(client)
    client.send(
      request({ command: READ, cookie: 1n, offset: 0, length: 8 }),
      request({ command: READ, cookie: 2n, offset: 512, length: 8 }),
    )
    assert.equal((await takeSimple(client)).cookie, 2n)
    await client.take(8)
    assert.equal((await takeSimple(client)).cookie, 1n)
  })

  test('flush and FUA reach the device; writes to one sector do not overtake each other', async (t) => {
    const plain = memory(4096)
    const order: number[] = []
    const write = async (offset: number, data: Buffer) => {
      if (offset === 0) await sleep(50)
      order.push(offset)
      await plain.write?.(offset, data)
    }
    const client = await dial((await start(t, { ...plain, write }, { readOnly: false })).path)
    await go(client)
    client.send(
      request({ command: WRITE, cookie: 1n, offset: 0, payload: Buffer.alloc(8, 1) }),
      request({ command: WRITE, cookie: 2n, offset: 8, payload: Buffer.alloc(8, 2), flags: 1 }),
      request({ command: FLUSH, cookie: 3n }),
    )
    const replies = [await takeSimple(client), await takeSimple(client), await takeSimple(client)]
    assert.deepEqual(
      replies.map(({ error, cookie }) => [error, cookie]).sort(),
      [1n, 2n, 3n].map((cookie) => [0, cookie]),
    )
    assert.deepEqual([order, plain.flushes()], [[0, 8], 2])
  })
})
