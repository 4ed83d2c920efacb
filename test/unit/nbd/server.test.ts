import assert from 'node:assert/strict'
import { existsSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { knoxError, tempFolder } from '../../support/expect.ts'
import { dial, go, request, takeSimple } from './client.ts'
import { memory, start } from './devices.ts'

const [READ, WRITE] = [0, 1] as const

describe('a server', () => {
  test('has a socket that only its owner can open, and removes it', async (t) => {
    const server = await start(t, memory(512))
    assert.equal(statSync(server.path).mode & 0o777, 0o600)
    await server.stop()
    assert.ok(!existsSync(server.path))
  })

  test('takes the place of a dead socket, not of a living one, nor of a file', async (t) => {
    const device = memory(512)
    const living = await start(t, device)
    await assert.rejects(start(t, device, { path: living.path }), knoxError('busy', /serves on/))
    const file = join(await tempFolder(t), 'file')
    await writeFile(file, 'mine')
    await assert.rejects(start(t, device, { path: file }), knoxError('refused', /exists already/))
    const dead = join(await tempFolder(t), 'dead.sock')
    const other = createServer().listen(dead)
    await sleep(20)
    // a socket whose server is gone without removing it
    ;(other as unknown as { _handle: { close: () => void } })._handle.close()
    await go(await dial((await start(t, device, { path: dead })).path))
  })

  test('survives garbage, at the handshake and after it, while another client is served', async (t) => {
    const device = memory(65_536)
    const { path } = await start(t, device, { limits: { handshakeSeconds: 2 } })
    const good = await dial(path)
    await go(good)
    const seed = Number(process.env['KNOX_SEED'] ?? Date.now() % 1_000_000)
    t.diagnostic(`seed ${seed}`)
    let served = 0n
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 400 }),
        fc.boolean(),
        fc.boolean(),
        async (noise, late, half) => {
          const bad = await dial(path)
          if (late) await go(bad)
          else await bad.take(18)
          bad.send(Buffer.from(noise))
          if (half) bad.socket.end()
          else bad.socket.destroy()
          served += 1n
          good.send(request({ command: READ, cookie: served, offset: 100, length: 50 }))
          assert.deepEqual(await takeSimple(good), { error: 0, cookie: served })
          await good.take(50)
          bad.socket.destroy()
        },
      ),
      { numRuns: 500, seed },
    )
  })

  test('bounds what a client has in flight: one that reads nothing is not read from any more', async (t) => {
    const device = memory(65_536)
    const budget = 256 * 1024
    const server = await start(t, device, { limits: { share: budget } })
    const client = await dial(server.path)
    await go(client)
    client.socket.pause()
    const ask = (cookie: number) =>
      request({ command: READ, cookie: BigInt(cookie), offset: 0, length: 65_536 })
    for (let n = 0; n < 2000; n += 1) client.send(ask(n))
    let most = 0
    for (let n = 0; n < 30; n += 1) {
      await sleep(10)
      most = Math.max(most, server.inFlight())
    }
    assert.ok(most > 0 && most <= budget, `${most} bytes in flight`)
    client.socket.resume()
    for (let n = 0; n < 2000; n += 1) {
      assert.equal((await takeSimple(client)).error, 0)
      await client.take(65_536)
    }
  })

  test('lets a half-closed client have its answers', async (t) => {
    const plain = memory(4096)
    const read: BlockDevice['read'] = async (offset, length) => {
      await sleep(50)
      return plain.read(offset, length)
    }
    const client = await dial((await start(t, { ...plain, read })).path)
    await go(client)
    client.send(request({ command: READ, cookie: 1n, length: 16 }))
    client.socket.end()
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
    assert.equal((await client.end()).length, 16)
  })

  test('that is stopped answers what is under way, and waits no longer than it is told', async (t) => {
    const plain = memory(4096)
    let slow = 80
    const read: BlockDevice['read'] = async (offset, length) => {
      await sleep(slow)
      return plain.read(offset, length)
    }
    const server = await start(t, { ...plain, read })
    const client = await dial(server.path)
    await go(client)
    client.send(request({ command: READ, cookie: 1n, length: 16 }))
    await sleep(20)
    await server.stop()
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
    slow = 3000
    const second = await start(t, { ...plain, read })
    const stuck = await dial(second.path)
    await go(stuck)
    stuck.send(request({ command: READ, cookie: 1n, length: 16 }))
    await sleep(20)
    const before = Date.now()
    await second.stop(0.1)
    assert.ok(Date.now() - before < 3500)
    assert.equal((await stuck.end()).length, 0)
  })

  test('a torn write is not done', async (t) => {
    const device = memory(4096)
    const before = Buffer.from(device.bytes)
    const server = await start(t, device, { readOnly: false })
    const client = await dial(server.path)
    await go(client)
    const whole = request({ command: WRITE, cookie: 1n, offset: 0, payload: Buffer.alloc(1000, 9) })
    client.send(whole.subarray(0, 600))
    client.socket.end()
    await client.end()
    assert.ok(device.bytes.equals(before))
  })
})
