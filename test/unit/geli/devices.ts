import assert from 'node:assert/strict'
import type { BlockDevice } from '../../../provision/core/block-device.ts'

/** Block devices for the tests. They refuse what is outside of them, and give views: whoever writes into one is noticed. */

type Writable = BlockDevice & Required<Pick<BlockDevice, 'write'>>

const checkRange = (size: number, offset: number, length: number) => {
  assert.ok(Number.isSafeInteger(offset) && Number.isSafeInteger(length), `${length} at ${offset}`)
  if (offset < 0 || length < 0 || offset + length > size)
    throw new RangeError(`the device was asked for ${length} bytes at ${offset} of ${size}`)
}

/** All of it in memory. */
export const memoryDevice = (bytes: Buffer): Writable => ({
  size: bytes.length,
  read: (offset, length) =>
    Promise.resolve().then(() => {
      checkRange(bytes.length, offset, length)
      return bytes.subarray(offset, offset + length)
    }),
  write: (offset, data) =>
    Promise.resolve().then(() => {
      checkRange(bytes.length, offset, data.length)
      data.copy(bytes, offset)
    }),
})

const BLOCK = 512

/** Of any size; only what was written takes memory, the rest is zeros. */
export const sparseDevice = (size: number): Writable => {
  const blocks = new Map<number, Buffer>()
  const eachBlock = (
    offset: number,
    length: number,
    work: (number: number, from: number, at: number) => void,
  ) => {
    for (let at = 0; at < length;) {
      const position = offset + at
      work(Math.floor(position / BLOCK), position % BLOCK, at)
      at += BLOCK - (position % BLOCK)
    }
  }
  return {
    size,
    read: (offset, length) =>
      Promise.resolve().then(() => {
        checkRange(size, offset, length)
        const out = Buffer.alloc(length)
        eachBlock(offset, length, (number, from, at) => blocks.get(number)?.copy(out, at, from))
        return out
      }),
    write: (offset, data) =>
      Promise.resolve().then(() => {
        checkRange(size, offset, data.length)
        eachBlock(offset, data.length, (number, from, at) => {
          const block = blocks.get(number) ?? Buffer.alloc(BLOCK)
          data.copy(block, from, at)
          blocks.set(number, block)
        })
      }),
  }
}

/** The device cut to its first `size` bytes, or longer by zeros. */
export const resized = (bytes: Buffer, size: number): BlockDevice => {
  const other = Buffer.alloc(size)
  bytes.copy(other)
  return memoryDevice(other)
}
