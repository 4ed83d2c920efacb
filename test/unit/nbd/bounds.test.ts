import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import type { Limits } from '../../../provision/nbd/server.ts'
import { connected, dial, go, option, request, takeSimple, u32 } from './client.ts'
import { eventually, memory, start } from './devices.ts'

const [READ, WRITE] = [0, 1] as const
const MIB = 2 ** 20

/** A server of 2 MiB in memory that knows how many reads were begun, and the most bytes that were ever in flight. */
const watched = async (t: TestContext, limits: Partial<Limits>, delay = 0) => {
  const plain = memory(2 * MIB)
  let [reads, most] = [0, 0]
  const look = () => (most = Math.max(most, server.inFlight()))
  const device: BlockDevice = {
    ...plain,
    read: async (offset, length) => {
      reads += 1
      look()
      await sleep(delay)
      look()
      return plain.read(offset, length)
    },
    write: async (offset, data) => {
      look()
      await sleep(delay)
      await plain.write?.(offset, data)
    },
  }
  const server = await start(t, device, { readOnly: false, limits })
  return { server, plain, reads: () => reads, most: () => most }
}

describe('what clients take up', () => {
  test('a client that does not take its replies is not read from any more; when it does, it has them all', async (t) => {
    const share = 256 * 1024
    const { server, most, reads } = await watched(t, { share })
    const client = await dial(server.path)
    await go(client)
    client.socket.pause()
    const [count, length] = [500, 65_536]
    for (let n = 0; n < count; n += 1) client.send(request({ command: READ, cookie: BigInt(n), length }))
    await eventually(() => server.inFlight() === share)
    // what fits into the kernel is taken still
    await sleep(200)
    const begun = reads()
    await sleep(200)
    assert.ok(reads() === begun && begun < 20, `${begun} and then ${reads()} reads were begun`)
    const other = await connected(server.path)
    assert.equal((await other.ask({ command: READ, length })).error, 0, 'others are not held up')
    client.socket.resume()
    for (let n = 0; n < count; n += 1) {
      assert.equal((await takeSimple(client)).error, 0)
      await client.take(length)
    }
    assert.ok(most() > 0 && most() <= 2 * share, `${most()} bytes in flight`)
    await eventually(() => server.inFlight() === 0)
  })

  test('all clients together hold no more than their shares and one long request', async (t) => {
    const limits = { clients: 5, share: 128 * 1024 }
    const { server, most } = await watched(t, limits, 2)
    const sizes = [4096, 100_000, 131_072, 200_000, MIB, 2 * MIB]
    await Promise.all(
      Array.from({ length: limits.clients }, async () => {
        const { ask } = await connected(server.path)
        await Promise.all(
          Array.from({ length: 60 }, async (_, n) => {
            const length = sizes[n % sizes.length] ?? 0
            const answer =
              n % 3 === 0
                ? await ask({ command: WRITE, payload: Buffer.alloc(length) })
                : await ask({ command: READ, length })
            assert.equal(answer.error, 0)
          }),
        )
      }),
    )
    const bound = limits.clients * limits.share + 32 * MIB
    assert.ok(most() > 2 * MIB && most() <= bound, `${most()} bytes in flight, ${bound} are allowed`)
    assert.equal(server.inFlight(), 0)
  })

  test('a thousand small requests take up memory too', async (t) => {
    const { server, most } = await watched(t, { share: 65_536 }, 5)
    const { ask } = await connected(server.path)
    await Promise.all(Array.from({ length: 300 }, () => ask({ command: READ, length: 1 })))
    assert.equal(most(), 65_536)
  })

  test('a write that is refused is read without being kept', async (t) => {
    const device = memory(512)
    const server = await start(t, device)
    const client = await dial(server.path)
    await go(client)
    const whole = request({ command: WRITE, cookie: 1n, payload: Buffer.alloc(8 * MIB) })
    client.send(whole.subarray(0, 4 * MIB))
    await sleep(50)
    assert.equal(server.inFlight(), 0)
    client.send(whole.subarray(4 * MIB))
    assert.deepEqual(await takeSimple(client), { error: 1, cookie: 1n })
  })

  test('a client that leaves is not worked for any more', async (t) => {
    const { server, reads } = await watched(t, { share: 16_384 }, 5)
    const client = await dial(server.path)
    await go(client)
    const asks = Array.from({ length: 2000 }, (_, n) =>
      request({ command: READ, cookie: BigInt(n), length: 4096 }),
    )
    client.send(...asks)
    await eventually(() => reads() > 3)
    client.socket.destroy()
    await eventually(() => server.inFlight() === 0)
    const begun = reads()
    await sleep(50)
    assert.ok(reads() === begun && begun < 100, `${begun} reads were begun`)
  })

  test('one that takes nothing for long is let go, and so is one that does not finish what it has begun', async (t) => {
    const { server } = await watched(t, { stallSeconds: 0.3 })
    const begin: readonly (readonly [string, Buffer])[] = [
      ['a reply that nobody takes', request({ command: READ, cookie: 1n, length: 2 * MIB })],
      [
        'half a write',
        request({ command: WRITE, cookie: 1n, payload: Buffer.alloc(2 * MIB) }).subarray(0, MIB),
      ],
      ['no payload at all', request({ command: WRITE, cookie: 1n, length: 2 * MIB })],
      ['half a write that is refused', request({ command: WRITE, cookie: 1n, length: 64 * MIB })],
    ]
    for (const [what, bytes] of begin) {
      const client = await dial(server.path)
      await go(client)
      let isOver = false
      client.socket.on('close', () => (isOver = true)).on('end', () => (isOver = true))
      if (what.startsWith('a reply')) client.socket.pause()
      client.send(bytes)
      await sleep(100)
      assert.equal(isOver, false, what)
      await sleep(700)
      client.socket.resume()
      await eventually(() => isOver)
      assert.equal(server.inFlight(), 0, what)
    }
  })

  test('one that is slow is not let go, nor one that waits for a slow device, nor one that has nothing to ask', async (t) => {
    const { server } = await watched(t, { stallSeconds: 0.6 }, 800)
    const { client, ask } = await connected(server.path)
    client.socket.pause()
    const reading = ask({ command: READ, length: MIB })
    await sleep(900)
    for (let n = 0; n < 12; n += 1) {
      client.socket.resume()
      await sleep(1)
      client.socket.pause()
      await sleep(80)
    }
    client.socket.resume()
    assert.equal((await reading).error, 0)
    await sleep(700)
    assert.equal((await ask({ command: READ, length: 1 })).error, 0)
  })

  test('one more client than there are places is let go at once; the place of one that leaves is free', async (t) => {
    const server = await start(t, memory(512), { limits: { clients: 2 } })
    const first = await connected(server.path)
    await connected(server.path)
    assert.equal((await (await dial(server.path)).end()).length, 0)
    first.client.socket.destroy()
    await sleep(50)
    await go(await dial(server.path))
  })

  test('a half-closed client has its answers, whole requests only', async (t) => {
    const { server, plain } = await watched(t, {}, 30)
    const before = Buffer.from(plain.bytes)
    const client = await dial(server.path)
    await go(client)
    const torn = request({ command: WRITE, cookie: 2n, payload: Buffer.alloc(1000, 9) }).subarray(0, 600)
    client.send(request({ command: READ, cookie: 1n, length: 16 }), torn)
    client.socket.end()
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
    assert.equal((await client.end()).length, 16)
    assert.ok(plain.bytes.equals(before), 'a torn write is not done')
    const other = await dial(server.path)
    other.send(u32(3), option(3))
    other.socket.end()
    // greeting, SERVER with the name, ACK
    assert.equal((await other.end()).length, 18 + 20 + 8 + 20)
  })
})
