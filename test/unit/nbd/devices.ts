import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BlockDevice } from '../../../provision/core/block-device.ts'
import { serveNbd, type NbdServer, type ServeOptions } from '../../../provision/nbd/server.ts'
import { tempFolder } from '../../support/expect.ts'

/** Devices in memory, and servers of them that end with their test. */

export interface Memory extends BlockDevice {
  readonly bytes: Buffer
  readonly flushes: () => number
}

export const memory = (size: number): Memory => {
  const bytes = Buffer.alloc(size)
  for (let n = 0; n < size; n += 1) bytes[n] = n * 7 + (n >> 8)
  let flushes = 0
  return {
    size,
    bytes,
    flushes: () => flushes,
    read: (offset, length) => Promise.resolve(Buffer.from(bytes.subarray(offset, offset + length))),
    write: (offset, data) => {
      data.copy(bytes, offset)
      return Promise.resolve()
    },
    flush: () => {
      flushes += 1
      return Promise.resolve()
    },
  }
}

export const start = async (
  t: TestContext,
  device: BlockDevice,
  options: Partial<ServeOptions> = {},
): Promise<NbdServer> => {
  const path = join(await tempFolder(t), 'nbd.sock')
  const server = await serveNbd({ device, path, readOnly: true, exportName: 'disk', ...options })
  t.after(() => server.stop(0.1))
  return server
}

/** Waits until it is true; fails after so many seconds. */
export const eventually = async (isTrue: () => boolean, seconds = 5): Promise<void> => {
  const last = Date.now() + seconds * 1000
  while (!isTrue()) {
    if (Date.now() > last) throw new Error('it does not come true')
    await sleep(5)
  }
}
