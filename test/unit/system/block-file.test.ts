import assert from 'node:assert/strict'
import { open, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { openBlockFile } from '../../../provision/system/block-file.ts'
import { tempFolder } from '../../support/expect.ts'

test('after a flush that failed nothing is written any more, and no later flush says that it is well', async (t) => {
  const path = join(await tempFolder(t), 'disk')
  await writeFile(path, '')
  await truncate(path, 8192)
  const handle = await open(path)
  const prototype = Object.getPrototypeOf(handle) as typeof handle
  await handle.close()
  const disk = await openBlockFile(path, { writable: true })
  await disk.write?.(0, Buffer.alloc(512, 1))
  await disk.flush?.()
  // the kernel tells a failed write-back once; the next datasync is well again
  const mock = t.mock.method(prototype, 'datasync', () => Promise.reject(new Error('EIO')), { times: 1 })
  await disk.write?.(0, Buffer.alloc(512, 2))
  await assert.rejects(async () => disk.flush?.(), /could not be written/)
  assert.equal(mock.mock.callCount(), 1)
  await assert.rejects(async () => disk.write?.(4096, Buffer.alloc(512, 3)), /could not be written/)
  await assert.rejects(async () => disk.flush?.(), /could not be written/)
  assert.deepEqual(await disk.read(4096, 512), Buffer.alloc(512))
  await disk.close()
})
