import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { connected, dial, go, request, takeSimple, type Ask } from './client.ts'
import { memory, start } from './devices.ts'

const [READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, ZEROES, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const
const [EPERM, EIO, EINVAL, ENOSPC] = [1, 5, 22, 28] as const
const FUA = 1
const MIB = 2 ** 20
const SIZE = 5000

type Case = readonly [string, Omit<Ask, 'cookie'>, number]

const payload = Buffer.alloc(100, 7)
const both: readonly Case[] = [
  ['a read over the end', { command: READ, offset: SIZE - 1, length: 2 }, EINVAL],
  ['a read behind the end', { command: READ, offset: SIZE + 1, length: 1 }, EINVAL],
  ['a read at the end of all numbers', { command: READ, offset: 2n ** 64n - 1n, length: 1 }, EINVAL],
  ['a read that wraps around', { command: READ, offset: 2n ** 64n - 1n, length: 2 ** 32 - 1 }, EINVAL],
  ['a read that is too long', { command: READ, length: 32 * MIB + 1 }, EINVAL],
  ['a read with an unknown flag', { command: READ, length: 1, flags: 4 }, EINVAL],
  ['a write with an unknown flag', { command: WRITE, payload, flags: 0x8000 }, EINVAL],
  ['a hint to cache', { command: CACHE, length: 10 }, EINVAL],
  ['block status', { command: STATUS, length: 10 }, EINVAL],
  ['an unknown command', { command: 777, length: 2 ** 32 - 1 }, EINVAL],
]
const readOnly: readonly Case[] = [
  ['a write', { command: WRITE, payload }, EPERM],
  ['a write behind the end', { command: WRITE, offset: SIZE, payload }, EPERM],
  ['a write that is too long', { command: WRITE, payload: Buffer.alloc(33 * MIB) }, EPERM],
  ['a write of nothing', { command: WRITE }, EPERM],
  ['trim', { command: TRIM, length: 10 }, EPERM],
  ['write zeroes', { command: ZEROES, length: 10 }, EPERM],
  ['flush, which was not offered', { command: FLUSH }, EINVAL],
  ['FUA, which was not offered', { command: READ, length: 1, flags: FUA }, EINVAL],
]
const writable: readonly Case[] = [
  ['a write over the end', { command: WRITE, offset: SIZE - 50, payload }, ENOSPC],
  ['a write that wraps around', { command: WRITE, offset: 2n ** 64n - 50n, payload }, ENOSPC],
  ['a write that is too long', { command: WRITE, payload: Buffer.alloc(33 * MIB) }, EINVAL],
  ['trim, which was not offered', { command: TRIM, length: 10 }, EINVAL],
  ['write zeroes, which was not offered', { command: ZEROES, length: 10 }, EINVAL],
  ['a read with FUA', { command: READ, length: 0, flags: FUA }, 0],
  ['a flush with FUA', { command: FLUSH, flags: FUA }, 0],
  ['a read of nothing', { command: READ, length: 0 }, 0],
  ['a read of nothing at the end', { command: READ, offset: SIZE, length: 0 }, 0],
  ['a write of nothing', { command: WRITE }, 0],
]

describe('requests', () => {
  for (const [name, isReadOnly, cases] of [
    ['a read-only device', true, [...both, ...readOnly]],
    ['a writable device', false, [...both, ...writable]],
  ] as const)
    test(`of ${name} that cannot be done each have their error, and change nothing; the connection goes on`, async (t) => {
      const device = memory(SIZE)
      const before = Buffer.from(device.bytes)
      const { ask, client } = await connected(
        (await start(t, device, isReadOnly ? {} : { readOnly: false })).path,
      )
      for (const [what, wrong, error] of cases) {
        assert.equal((await ask(wrong)).error, error, what)
        assert.deepEqual(await ask({ command: READ, offset: SIZE - 1, length: 1 }), {
          error: 0,
          data: before.subarray(SIZE - 1),
        })
      }
      assert.ok(device.bytes.equals(before))
      client.send(request({ command: DISCONNECT, cookie: 0n }))
      assert.equal((await client.end()).length, 0)
    })

  test('of 32 MiB are done, to the byte', async (t) => {
    const device = memory(32 * MIB + 1)
    const { ask } = await connected((await start(t, device, { readOnly: false })).path)
    const { data } = await ask({ command: READ, offset: 1, length: 32 * MIB })
    assert.ok(data.equals(device.bytes.subarray(1)))
    const payload = Buffer.alloc(32 * MIB, 'knox')
    assert.equal((await ask({ command: WRITE, offset: 1, payload })).error, 0)
    assert.ok(device.bytes.subarray(1).equals(payload))
  })

  test('that a device fails are errors, and the next ones are done', async (t) => {
    const plain = memory(4096)
    let fault: Error | undefined | null
    const failing = async () => {
      await sleep(1)
      if (fault !== undefined) throw fault as Error
    }
    const device: BlockDevice = {
      ...plain,
      read: async (offset, length) => {
        await failing()
        return plain.read(offset, length)
      },
      write: failing,
      flush: failing,
    }
    const { ask } = await connected((await start(t, device, { readOnly: false })).path)
    const faults = [
      [new Error('bad sector'), EIO],
      [Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' }), EIO],
      [new RangeError('a fault of its own'), EIO],
      ['no error at all' as unknown as Error, EIO],
      [null, EIO],
      [Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }), ENOSPC],
      [Object.assign(new Error('EFBIG'), { code: 'EFBIG' }), ENOSPC],
    ] as const
    for (const [thrown, error] of faults) {
      fault = thrown
      const answers = await Promise.all([
        ask({ command: READ, length: 10 }),
        ask({ command: WRITE, payload }),
        ask({ command: FLUSH }),
        ask({ command: WRITE, payload, flags: FUA }),
      ])
      for (const answer of answers) assert.deepEqual(answer, { error, data: Buffer.alloc(0) })
      fault = undefined
      assert.equal((await ask({ command: READ, length: 10 })).error, 0)
    }
  })

  test('that a device answers with too little or too much are EIO: the stream stays in step', async (t) => {
    const plain = memory(4096)
    let wrong = 0
    const read: BlockDevice['read'] = (offset, length) => plain.read(offset, length + wrong)
    const { ask } = await connected((await start(t, { ...plain, read })).path)
    for (wrong of [-1, 1, -10]) assert.equal((await ask({ command: READ, length: 10 })).error, EIO)
    wrong = 0
    assert.equal((await ask({ command: READ, length: 10 })).error, 0)
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

  test('before a disconnect are answered, what comes after it is not done', async (t) => {
    const plain = memory(4096)
    const read: BlockDevice['read'] = async (offset, length) => {
      await sleep(50)
      return plain.read(offset, length)
    }
    const device = { ...plain, read }
    const client = await dial((await start(t, device, { readOnly: false })).path)
    await go(client)
    client.send(
      request({ command: READ, cookie: 1n, length: 16 }),
      request({ command: DISCONNECT, cookie: 2n }),
      request({ command: WRITE, cookie: 3n, payload: Buffer.alloc(16, 99) }),
    )
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
    assert.equal((await client.end()).length, 16)
    assert.notEqual(plain.bytes[0], 99)
  })

  test('of writes in the same place are done in their order; FUA and flush answer when all is on the disk', async (t) => {
    const plain = memory(4096)
    const log: string[] = []
    let flushing = 0
    const device: BlockDevice = {
      ...plain,
      write: async (offset, data) => {
        await sleep(offset === 0 ? 40 : 1)
        log.push(`write ${offset}`)
        await plain.write?.(offset, data)
      },
      flush: async () => {
        flushing += 1
        await sleep(30)
        log.push('flush')
        flushing -= 1
      },
    }
    const { ask } = await connected((await start(t, device, { readOnly: false })).path)
    await Promise.all([
      ask({ command: WRITE, offset: 0, payload: Buffer.alloc(8, 1) }),
      ask({ command: WRITE, offset: 4, payload: Buffer.alloc(8, 2) }),
      ask({ command: FLUSH }).then(() => log.push('flushed')),
    ])
    assert.deepEqual(log, ['write 0', 'write 4', 'flush', 'flushed'])
    assert.deepEqual([...plain.bytes.subarray(0, 12)], [1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2])
    log.length = 0
    assert.equal((await ask({ command: WRITE, offset: 9, payload, flags: FUA })).error, 0)
    assert.deepEqual([log, flushing], [['write 9', 'flush'], 0])
    log.length = 0
    await ask({ command: WRITE, offset: 9, payload })
    assert.deepEqual(log, ['write 9'], 'without FUA nothing is flushed')
  })

  test('what is no request ends the connection, after what was asked before is answered', async (t) => {
    const client = await dial((await start(t, memory(4096))).path)
    await go(client)
    client.send(request({ command: READ, cookie: 1n, length: 4 }), Buffer.alloc(28, 0x25))
    assert.deepEqual(await takeSimple(client), { error: 0, cookie: 1n })
    assert.equal((await client.end()).length, 4)
  })
})
