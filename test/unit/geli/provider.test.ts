import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { openProvider } from '../../../provision/geli/provider.ts'
import { memoryDevice, sparseDevice } from './devices.ts'
import { KEY_FILE, lastSector, metadataOf, naiveRun } from './naive.ts'

const SHAPE = { version: 7, ealgo: 22, keylen: 128, sectorsize: 4096 }
const keyFiles = [KEY_FILE]

const disk = async (size = 2 ** 20) => {
  const device = sparseDevice(size)
  const metadata = await metadataOf(SHAPE, size)
  await device.write(size - 512, lastSector(metadata, 512))
  return { device, metadata }
}

/** The device with one of its functions changed, and the requests that reached it. */
const spied = (device: ReturnType<typeof memoryDevice>, changes: Partial<BlockDevice> = {}) => {
  const log: string[] = []
  const all: ReturnType<typeof memoryDevice> = { ...device, ...changes }
  return {
    log,
    device: {
      ...all,
      read: (offset: number, length: number) => {
        log.push(`read ${offset} ${length}`)
        return all.read(offset, length)
      },
      write: (offset: number, data: Buffer) => {
        log.push(`write ${offset} ${data.length}`)
        return all.write(offset, data)
      },
    },
  }
}

describe('a provider', () => {
  test('refuses what is outside of it, and its own metadata is outside', async () => {
    const { device } = await disk()
    const { size, read, write } = await openProvider(device, { keyFiles, writable: true })
    assert.equal(size, 2 ** 20 - 4096)
    for (const [offset, length] of [
      [0, size + 1],
      [size, 1],
      [size - 1, 2],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [0, 0.5],
      [NaN, 1],
      [2 ** 53, 1],
      [size + 1, 0],
    ] as const) {
      await assert.rejects(read(offset, length), RangeError)
      if (length >= 0 && Number.isInteger(length))
        await assert.rejects(write!(offset, Buffer.alloc(length)), RangeError)
    }
    for (const offset of [0, 5, size]) {
      assert.equal((await read(offset, 0)).length, 0)
      await write!(offset, Buffer.alloc(0))
    }
  })

  test('has no write unless it was asked for and the device has one', async () => {
    const { device } = await disk()
    assert.equal((await openProvider(device, { keyFiles })).write, undefined)
    const { size, read } = device
    assert.equal((await openProvider({ size, read }, { keyFiles, writable: true })).write, undefined)
    assert.notEqual((await openProvider(device, { keyFiles, writable: true })).write, undefined)
  })

  test('flushes through to the device, where it can', async () => {
    const { device } = await disk()
    assert.equal((await openProvider(device, { keyFiles })).flush, undefined)
    let flushed = 0
    const flush = () => Promise.resolve(void (flushed += 1))
    await (
      await openProvider({ ...device, flush }, { keyFiles })
    ).flush!()
    assert.equal(flushed, 1)
  })

  test('asks the device in pieces of at most 1 MiB, whole sectors only', async () => {
    const { device } = await disk(5 * 2 ** 20)
    const { device: watched, log } = spied(device)
    const provider = await openProvider(watched, { keyFiles, writable: true })
    log.length = 0
    await provider.read(4097, 3 * 2 ** 20)
    assert.deepEqual(log, [
      'read 4096 1048576',
      'read 1052672 1048576',
      'read 2101248 1048576',
      'read 3149824 4096',
    ])
  })

  test('reads before a write only the sectors that are written in part', async () => {
    const { device } = await disk(5 * 2 ** 20)
    const { device: watched, log } = spied(device)
    const { write } = await openProvider(watched, { keyFiles, writable: true })
    const logOf = async (offset: number, length: number) => {
      log.length = 0
      await write!(offset, Buffer.alloc(length))
      return log.slice()
    }
    assert.deepEqual(await logOf(4096, 8192), ['write 4096 8192'])
    assert.deepEqual(await logOf(4097, 8191), ['read 4096 4096', 'write 4096 8192'])
    assert.deepEqual(await logOf(4096, 8191), ['read 8192 4096', 'write 4096 8192'])
    assert.deepEqual(await logOf(4097, 4000), ['read 4096 4096', 'write 4096 4096'])
    assert.deepEqual(await logOf(1, 12_286), ['read 0 4096', 'read 8192 4096', 'write 0 12288'])
    assert.deepEqual(await logOf(1, 2 ** 20), [
      'read 0 4096',
      'write 0 1048576',
      'read 1048576 4096',
      'write 1048576 4096',
    ])
  })

  test('hands on what the device throws, and the next write still works', async () => {
    const { device, metadata } = await disk()
    let broken = true
    const failing = spied(device, {
      write: (offset, data) =>
        broken ? Promise.reject(new Error('EIO: the disk is broken')) : device.write(offset, data),
    })
    const provider = await openProvider(failing.device, { keyFiles, writable: true })
    const first = provider.write!(0, Buffer.alloc(10))
    const second = provider.write!(4096, Buffer.alloc(10))
    await assert.rejects(first, /disk is broken/)
    await assert.rejects(second, /disk is broken/)
    broken = false
    await provider.write!(8192, Buffer.alloc(4096, 'x'))
    const sealed = naiveRun(metadata, 'encrypt', Buffer.alloc(4096, 'x'), 8192)
    assert.deepEqual(await device.read(8192, 4096), sealed)
    const unreadable = spied(device, {
      read: (offset, length) =>
        offset < 4096 ? Promise.reject(new Error('EIO')) : device.read(offset, length),
    })
    const other = await openProvider(unreadable.device, { keyFiles })
    await assert.rejects(other.read(0, 1), /EIO/)
    await other.read(4096, 1)
  })

  for (const [what, give] of [
    ['too little', (bytes: Buffer) => bytes.subarray(4096)],
    ['too much', (bytes: Buffer) => Buffer.concat([bytes, bytes])],
    ['nothing', () => Buffer.alloc(0)],
  ] as const)
    test(`does not believe a device that gives ${what}`, async () => {
      const { device } = await disk()
      const lying = async (offset: number, length: number) => {
        const bytes = await device.read(offset, length)
        return offset < 2 ** 19 ? give(bytes) : bytes
      }
      const provider = await openProvider({ ...device, read: lying }, { keyFiles })
      await assert.rejects(provider.read(0, 8192), /the device gave \d+ bytes at 0 where 8192/)
    })

  test('gives nothing after close, also to a read that was under way', async () => {
    const { device } = await disk()
    const provider = await openProvider(device, { keyFiles, writable: true })
    await provider.read(0, 1)
    const underWay = [provider.read(0, 4096), provider.write!(1, Buffer.alloc(5))]
    provider.close()
    for (const work of underWay) await assert.rejects(work, /closed/)
    await assert.rejects(provider.read(0, 1), /closed/)
    await assert.rejects(provider.write!(0, Buffer.alloc(4096)), /closed/)
    assert.deepEqual(await device.read(0, 4096), Buffer.alloc(4096), 'nothing was written')
    provider.close()
  })

  test('many reads at the same time get each its own', async () => {
    const { device, metadata } = await disk()
    const provider = await openProvider(device, { keyFiles })
    const plain = naiveRun(metadata, 'decrypt', Buffer.alloc(provider.size), 0)
    const offsets = Array.from({ length: 200 }, (_, i) => (i * 7919 * 13) % (provider.size - 9000))
    const parts = await Promise.all(offsets.map((offset, i) => provider.read(offset, 1 + ((i * 331) % 9000))))
    for (const [i, part] of parts.entries())
      assert.ok(part.equals(plain.subarray(offsets[i], offsets[i]! + part.length)))
  })
})
