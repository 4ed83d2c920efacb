import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { alignedPool } from '../../../provision/image/aligned.ts'
import { CHUNK } from '../../../provision/image/chunks.ts'
import { openDrive } from '../../../provision/image/open-drive.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'

describe('a file in place of a drive', () => {
  test('is read and written anywhere, and never beyond its end', async (t) => {
    const path = join(await tempFolder(t), 'file')
    const content = Buffer.alloc(2 * CHUNK + 777, 1)
    await writeFile(path, content)
    const drive = await openDrive(path, { bytes: content.length, sectorBytes: 1, isFile: true })
    t.after(() => drive.close())
    const edges = [0, 1, 511, 512, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, content.length - 5, content.length]
    for (const [index, offset] of edges.entries()) {
      const data = Buffer.alloc(Math.min(5 + index, content.length - offset), index + 2)
      await drive.write(offset, data)
      data.copy(content, offset)
    }
    await drive.flush()
    assert.ok((await readFile(path)).equals(content))
    assert.ok((await drive.read(0, content.length)).equals(content))
    for (const offset of edges)
      assert.ok(
        (await drive.read(offset, Math.min(3000, content.length - offset))).equals(
          content.subarray(offset, offset + 3000),
        ),
      )
    await assert.rejects(drive.write(content.length - 4, Buffer.alloc(5)), RangeError)
    await assert.rejects(drive.read(content.length, 1), RangeError)
    await assert.rejects(drive.read(-1, 1), RangeError)
    assert.equal((await readFile(path)).length, content.length)
  })

  test('that is shorter than it was ends early, as a drive that is gone', async (t) => {
    const path = join(await tempFolder(t), 'file')
    await writeFile(path, 'short')
    const drive = await openDrive(path, { bytes: 4096, sectorBytes: 1, isFile: true })
    t.after(() => drive.close())
    await assert.rejects(drive.read(0, 4096), { code: 'ENOSPC' })
  })

  test('takes whole sectors only, where it has sectors', async (t) => {
    const path = join(await tempFolder(t), 'file')
    await writeFile(path, Buffer.alloc(4096))
    const drive = await openDrive(path, { bytes: 4096, sectorBytes: 512, isFile: true })
    t.after(() => drive.close())
    await assert.rejects(drive.write(0, Buffer.alloc(511)), RangeError)
    await assert.rejects(drive.write(1, Buffer.alloc(512)), RangeError)
    await drive.write(3584, Buffer.alloc(512, 9))
    assert.ok((await drive.read(3583, 2)).equals(Buffer.from([0, 9])))
  })

  test('that cannot be opened is an error of the drive, with the system’s reason', async (t) => {
    const dir = await tempFolder(t)
    const options = { bytes: 4096, sectorBytes: 512, isFile: true }
    assert.ok(
      knoxError(
        'disk',
        /cannot be opened \(ENOENT\)/,
      )(await thrownBy(() => openDrive(join(dir, 'x'), options))),
    )
    assert.ok(knoxError('disk', /EISDIR/)(await thrownBy(() => openDrive(dir, options))))
  })
})

test('a pool lends each buffer to one at a time, and all wait their turn', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), async (fails) => {
      const pool = alignedPool(2, 65_536)
      let [busy, most] = [0, 0]
      const jobs = fails.map((isFailing, index) =>
        pool.use(async (buffer) => {
          busy += 1
          most = Math.max(most, busy)
          buffer.fill(index)
          await new Promise((resolve) => setImmediate(resolve))
          busy -= 1
          assert.ok(buffer.length === 65_536 && buffer.every((byte) => byte === index))
          if (isFailing) throw new Error('it failed')
          return index
        }),
      )
      const ends = await Promise.allSettled(jobs)
      assert.deepEqual(
        ends.map(({ status }) => status === 'rejected'),
        fails,
      )
      assert.ok(most <= 2)
    }),
    { numRuns: 20 },
  )
})
