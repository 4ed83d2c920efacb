import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  dial,
  go,
  greet,
  infoRequest,
  option,
  request,
  takeReply,
  takeSimple,
  u16,
  u32,
  u64,
  type Client,
} from './client.ts'
import { memory, start } from './devices.ts'

const READ = 0
const [EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY] = [1, 2, 3, 5, 6, 7, 8] as const
const [ACK, SERVER, REP_INFO] = [1, 2, 3] as const
const [UNSUPPORTED, INVALID, UNKNOWN, TOO_BIG] = [1, 3, 6, 9].map((number) => 2 ** 31 + number)
const [BLOCK_SIZE] = [3] as const

/** Sends one option; returns the types of its replies up to the last one, and their data. */
const say = async (client: Client, number: number, data?: Buffer) => {
  client.send(option(number, data))
  const [types, datas]: [number[], Buffer[]] = [[], []]
  for (;;) {
    const reply = await takeReply(client)
    assert.equal(reply.option, number)
    types.push(reply.type)
    datas.push(reply.data)
    if (reply.type === ACK || reply.type >= 2 ** 31) return { types, datas }
  }
}

/** GO on a client that was greeted already. */
const goOn = async (client: Client) =>
  assert.deepEqual((await say(client, GO, infoRequest(''))).types, [REP_INFO, ACK])

describe('the handshake', () => {
  test('GO tells the size and what the device can do: read-only, writable, without flush, without write', async (t) => {
    const device = memory(10_001)
    const { flush, write, ...bare } = device
    const flagsOf = async (served: typeof bare, readOnly?: boolean) => {
      const { path } = await start(t, served, readOnly === undefined ? {} : { readOnly })
      const { size, flags } = await go(await dial(path), 'disk')
      assert.equal(size, 10_001n)
      return flags
    }
    assert.ok(flush !== undefined && write !== undefined)
    const [HAS_FLAGS, READ_ONLY, FLUSH, FUA, MULTI_CONN] = [1, 2, 4, 8, 256] as const
    assert.equal(await flagsOf(device), HAS_FLAGS | READ_ONLY | MULTI_CONN)
    assert.equal(await flagsOf(device, false), HAS_FLAGS | FLUSH | FUA)
    assert.equal(await flagsOf({ ...bare, write } as typeof bare, false), HAS_FLAGS)
    assert.equal(await flagsOf({ ...bare, flush } as typeof bare, false), HAS_FLAGS | READ_ONLY | MULTI_CONN)
  })

  test('LIST names the export; with data it is invalid', async (t) => {
    const client = await dial((await start(t, memory(512))).path)
    await greet(client)
    const list = await say(client, LIST)
    assert.deepEqual(list.types, [SERVER, ACK])
    assert.deepEqual(list.datas[0], Buffer.concat([u32(4), Buffer.from('disk')]))
    assert.deepEqual((await say(client, LIST, Buffer.from('x'))).types, [INVALID])
  })

  test('INFO and GO tell the same; block sizes if they are asked for; other names are unknown', async (t) => {
    const client = await dial((await start(t, memory(512))).path)
    await greet(client)
    const plain = await say(client, INFO, infoRequest(''))
    assert.deepEqual(plain.types, [REP_INFO, ACK])
    assert.deepEqual(plain.datas[0], Buffer.concat([u16(0), u64(512), u16(1 | 2 | 256)]))
    const asked = await say(client, INFO, infoRequest('disk', 1, 2, BLOCK_SIZE, 999))
    assert.deepEqual(asked.types, [REP_INFO, REP_INFO, ACK])
    assert.deepEqual(asked.datas[1], Buffer.concat([u16(BLOCK_SIZE), u32(1), u32(4096), u32(2 ** 25)]))
    for (const name of ['other', 'dis', 'disk ', 'DISK', 'disk\0', 'x'.repeat(4096)])
      for (const number of [INFO, GO])
        assert.deepEqual((await say(client, number, infoRequest(name))).types, [UNKNOWN], name)
    assert.deepEqual(await say(client, GO, infoRequest('disk', 1, 2, BLOCK_SIZE, 999)), asked)
    client.send(request({ command: READ, cookie: 1n, length: 1 }))
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
  })

  test('INFO and GO that are not what they say are invalid, options that it does not know unsupported', async (t) => {
    const client = await dial((await start(t, memory(512))).path)
    await greet(client)
    const bad = [
      Buffer.alloc(0),
      Buffer.alloc(5),
      u32(99),
      Buffer.concat([u32(2 ** 32 - 1), Buffer.alloc(8)]),
      Buffer.concat([infoRequest('disk', 3), Buffer.alloc(1)]),
      infoRequest('disk', 3).subarray(0, -1),
    ]
    for (const data of bad)
      for (const number of [INFO, GO])
        assert.deepEqual((await say(client, number, data)).types, [INVALID], data.toString('hex'))
    for (const number of [0, 4, STARTTLS, STRUCTURED_REPLY, 9, 10, 11, 4242, 2 ** 32 - 1])
      for (const length of [0, 20, 8192])
        assert.deepEqual((await say(client, number, Buffer.alloc(length))).types, [UNSUPPORTED])
    await goOn(client)
  })

  test('an option with too many data is told so, and the next one is understood', async (t) => {
    const client = await dial((await start(t, memory(512))).path)
    await greet(client)
    assert.deepEqual((await say(client, 10, Buffer.alloc(8193))).types, [TOO_BIG])
    assert.deepEqual((await say(client, GO, Buffer.alloc(2 ** 20))).types, [TOO_BIG])
    await goOn(client)
  })

  test('options may come byte by byte, or all at once', async (t) => {
    const { path } = await start(t, memory(512))
    const all = [u32(3), option(LIST), option(INFO, infoRequest('')), option(GO, infoRequest(''))]
    const last = request({ command: READ, cookie: 8n, length: 2 })
    const bytes = Buffer.concat([...all, last])
    for (const piece of [1, 7, bytes.length]) {
      const client = await dial(path)
      for (let at = 0; at < bytes.length; at += piece) {
        client.send(bytes.subarray(at, at + piece))
        await sleep(0)
      }
      await client.take(18)
      const types = []
      for (let n = 0; n < 6; n += 1) types.push((await takeReply(client)).type)
      assert.deepEqual(types, [SERVER, ACK, REP_INFO, ACK, REP_INFO, ACK])
      assert.deepEqual(await takeSimple(client), { error: 0, cookie: 8n })
      client.socket.destroy()
    }
  })

  test('ABORT is acknowledged, and then it ends; also for one that does not wait', async (t) => {
    const { path } = await start(t, memory(512))
    for (const data of ['', 'ignored']) {
      const client = await dial(path)
      await greet(client)
      assert.deepEqual((await say(client, ABORT, Buffer.from(data))).types, [ACK])
      assert.equal((await client.end()).length, 0)
    }
    const rude = await dial(path)
    rude.send(u32(3), option(ABORT))
    rude.socket.destroy()
    await go(await dial(path))
  })

  test('EXPORT_NAME, with and without its zeroes, and from a client of the first newstyle', async (t) => {
    const { path } = await start(t, memory(512))
    const cases = [
      [3, 10, 'disk'],
      [3, 10, ''],
      [2, 10, 'disk'],
      [1, 134, 'disk'],
      [0, 134, ''],
    ] as const
    for (const [flags, length, name] of cases) {
      const client = await dial(path)
      await greet(client, flags)
      client.send(
        option(EXPORT_NAME, Buffer.from(name)),
        request({ command: READ, cookie: 5n, offset: 3, length: 4 }),
      )
      const told = await client.take(length)
      const zeroes = Buffer.alloc(length - 10)
      assert.deepEqual(told, Buffer.concat([u64(512), u16(1 | 2 | 256), zeroes]))
      assert.deepEqual(await takeSimple(client), { error: 0, cookie: 5n })
      assert.equal((await client.take(4)).length, 4)
    }
    for (const name of ['secret', 'x'.repeat(9000)]) {
      const client = await dial(path)
      await greet(client)
      client.send(option(EXPORT_NAME, Buffer.from(name)))
      assert.equal((await client.end()).length, 0, 'it has no answer that says no')
    }
  })

  test('an export without a name is listed so and found by no other', async (t) => {
    const client = await dial((await start(t, memory(512), { exportName: '' })).path)
    await greet(client)
    assert.deepEqual((await say(client, LIST)).datas[0], u32(0))
    assert.deepEqual((await say(client, INFO, infoRequest('disk'))).types, [UNKNOWN])
    await goOn(client)
  })

  test('ends for unknown flags, wrong magics, an endless option, endless options and silence', async (t) => {
    const { path } = await start(t, memory(512), { limits: { handshakeSeconds: 0.3 } })
    const says: readonly (readonly [string, Buffer])[] = [
      ['unknown flags', u32(7)],
      ['all flags', u32(2 ** 32 - 1)],
      ['another option of the first newstyle', Buffer.concat([u32(0), option(LIST)])],
      ['a wrong magic', Buffer.concat([u32(3), Buffer.from('IHAVENOT'), u32(GO), u32(0)])],
      ['an endless option', Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(GO), u32(2 ** 32 - 1)])],
      ['silence', Buffer.alloc(0)],
      ['silence in an option', Buffer.concat([u32(3), Buffer.from('IHAV')])],
      ['silence in data', Buffer.concat([u32(3), Buffer.from('IHAVEOPT'), u32(GO), u32(100), u32(1)])],
    ]
    for (const [what, bytes] of says) {
      const client = await dial(path)
      await client.take(18)
      client.send(bytes)
      assert.equal((await client.end()).length, 0, what)
    }
    const haggler = await dial(path)
    await greet(haggler)
    haggler.send(...Array.from({ length: 1000 }, () => option(4242)))
    const answers = (await haggler.end()).length / 20
    assert.ok(answers >= 100 && answers < 1000, `${answers} answers`)
    await go(await dial(path))
  })

  test('the time for the handshake is over when it is: who waits between requests is not let go', async (t) => {
    const client = await dial((await start(t, memory(512), { limits: { handshakeSeconds: 0.1 } })).path)
    await go(client)
    await sleep(300)
    client.send(request({ command: READ, cookie: 1n, length: 1 }))
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
  })
})
