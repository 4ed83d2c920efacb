import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { dial, go, greet, infoRequest, option, request, takeReply, takeSimple, u32 } from './client.ts'
import { memory, start } from './devices.ts'

const READ = 0
const UNSUPPORTED = 2 ** 31 + 1
const INVALID = 2 ** 31 + 3
const UNKNOWN = 2 ** 31 + 6

describe('the handshake', () => {
  test('GO tells the size, and what a read-only and a writable device can do', async (t) => {
    const device = memory(10_001)
    const one = await dial((await start(t, device)).path)
    assert.deepEqual(await go(one), { size: 10_001n, flags: 1 | 2 | 256 })
    const other = await dial((await start(t, device, { readOnly: false })).path)
    assert.deepEqual(await go(other, 'disk'), { size: 10_001n, flags: 1 | 4 | 8 })
  })

  test('LIST, INFO, block sizes, unknown names and options, and ABORT', async (t) => {
    const client = await dial((await start(t, memory(512))).path)
    await greet(client)
    client.send(option(3))
    const listed = await takeReply(client)
    assert.deepEqual([listed.type, listed.data], [2, Buffer.concat([u32(4), Buffer.from('disk')])])
    assert.equal((await takeReply(client)).type, 1)
    client.send(option(3, Buffer.from('x')))
    assert.equal((await takeReply(client)).type, INVALID)
    client.send(option(6, infoRequest('disk', 3)))
    assert.equal((await takeReply(client)).data.length, 12)
    const sizes = (await takeReply(client)).data
    assert.deepEqual(
      [sizes.readUInt32BE(2), sizes.readUInt32BE(6), sizes.readUInt32BE(10)],
      [1, 4096, 2 ** 25],
    )
    assert.equal((await takeReply(client)).type, 1)
    client.send(option(7, infoRequest('other')))
    assert.equal((await takeReply(client)).type, UNKNOWN)
    for (const bad of [Buffer.alloc(0), u32(99), Buffer.concat([infoRequest('disk', 3), Buffer.alloc(1)])]) {
      client.send(option(7, bad))
      assert.equal((await takeReply(client)).type, INVALID)
    }
    for (const unknown of [5, 8, 9, 10, 4242]) {
      client.send(option(unknown, Buffer.alloc(20)))
      const { type, option: number } = await takeReply(client)
      assert.deepEqual([type, number], [UNSUPPORTED, unknown])
    }
    client.send(option(2))
    assert.equal((await takeReply(client)).type, 1)
    assert.equal((await client.end()).length, 0)
  })

  test('EXPORT_NAME, with and without its zeroes; a name it does not have ends the connection', async (t) => {
    const { path } = await start(t, memory(512))
    for (const [flags, length] of [
      [3, 10],
      [1, 134],
    ] as const) {
      const client = await dial(path)
      await greet(client, flags)
      client.send(option(1, Buffer.from('disk')), request({ command: READ, cookie: 5n, length: 4 }))
      assert.equal((await client.take(length)).readBigUInt64BE(0), 512n)
      assert.deepEqual(await takeSimple(client), { error: 0, cookie: 5n })
      assert.equal((await client.take(4)).length, 4)
    }
    const client = await dial(path)
    await greet(client)
    client.send(option(1, Buffer.from('secret')))
    assert.equal((await client.end()).length, 0)
  })

  test('ends for old clients, unknown flags, wrong magics, an endless option and silence', async (t) => {
    const { path } = await start(t, memory(512), { limits: { handshakeSeconds: 0.3 } })
    const says = [
      u32(0),
      u32(7),
      Buffer.concat([u32(3), Buffer.from('IHAVENOT'), u32(7), u32(0)]),
      Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(7), u32(2 ** 31)]),
      Buffer.alloc(0),
      Buffer.concat([u32(3), Buffer.from('IHAV')]),
    ]
    for (const bytes of says) {
      const client = await dial(path)
      await client.take(18)
      client.send(bytes)
      assert.equal((await client.end()).length, 0, bytes.toString('hex'))
    }
    await go(await dial(path))
  })
})
