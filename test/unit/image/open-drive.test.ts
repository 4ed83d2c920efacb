import assert from 'node:assert/strict'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { alignedMemory } from '../../../provision/image/aligned.ts'
import { CHUNK } from '../../../provision/image/chunks.ts'
import { flushDrive } from '../../../provision/image/drive-io.ts'
import { openDrive, type OpenDrive } from '../../../provision/image/open-drive.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'
import { systemError } from '../../support/fake-drive.ts'

const readFrom = async (drive: OpenDrive, offset: number, length: number): Promise<Buffer> => {
  const data = Buffer.alloc(length)
  await drive.read(offset, data)
  return data
}

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
    assert.ok((await readFrom(drive, 0, content.length)).equals(content))
    for (const offset of edges) {
      const wanted = content.subarray(offset, offset + 3000)
      assert.ok((await readFrom(drive, offset, wanted.length)).equals(wanted))
    }
    await assert.rejects(drive.write(content.length - 4, Buffer.alloc(5)), RangeError)
    await assert.rejects(drive.read(content.length, Buffer.alloc(1)), RangeError)
    await assert.rejects(drive.read(-1, Buffer.alloc(1)), RangeError)
    assert.equal((await readFile(path)).length, content.length)
  })

  test('that is shorter than it was ends early, as a drive that is gone', async (t) => {
    const path = join(await tempFolder(t), 'file')
    await writeFile(path, 'short')
    const drive = await openDrive(path, { bytes: 4096, sectorBytes: 1, isFile: true })
    t.after(() => drive.close())
    await assert.rejects(drive.read(0, Buffer.alloc(4096)), { code: 'ENOSPC' })
  })

  test('takes whole sectors only, where it has sectors', async (t) => {
    const path = join(await tempFolder(t), 'file')
    await writeFile(path, Buffer.alloc(4096))
    const drive = await openDrive(path, { bytes: 4096, sectorBytes: 512, isFile: true })
    t.after(() => drive.close())
    await assert.rejects(drive.write(0, Buffer.alloc(511)), RangeError)
    await assert.rejects(drive.write(1, Buffer.alloc(512)), RangeError)
    await assert.rejects(drive.read(0, Buffer.alloc(513)), RangeError)
    await drive.write(3584, Buffer.alloc(512, 9))
    assert.ok((await readFrom(drive, 3584, 512)).equals(Buffer.alloc(512, 9)))
  })

  test('that cannot be opened is an error of the drive, with the system’s reason', async (t) => {
    const dir = await tempFolder(t)
    const options = { bytes: 4096, sectorBytes: 512, isFile: true }
    const tried = (path: string) => thrownBy(() => openDrive(path, options))
    assert.ok(knoxError('disk', /cannot be opened \(ENOENT\)/)(await tried(join(dir, 'x'))))
    assert.ok(knoxError('disk', /EISDIR/)(await tried(dir)))
  })
})

test('a drive of FreeBSD that is gone when it is opened again was changed nevertheless', async (t) => {
  const path = join(await tempFolder(t), 'file')
  await writeFile(path, Buffer.alloc(4096))
  for (const code of ['ENXIO', 'EPERM']) {
    let opened = 0
    const openOnce: typeof open = (...words) =>
      (opened += 1) > 1 ? Promise.reject(systemError(code)) : open(...words)
    const system = { platform: 'freebsd', open: openOnce } as const
    const drive = await openDrive(path, { bytes: 4096, sectorBytes: 512, isFile: false, system })
    const error = await thrownBy(() => flushDrive(drive))
    assert.ok(knoxError('disk', new RegExp(`stopped keeping what was written .*\\(${code}\\)`))(error))
    assert.doesNotMatch((error as KnoxError).hints.join(), /nothing was changed/)
  }
})

test('memory for a drive is zeros, nobody else’s, and ends', () => {
  const allocate = alignedMemory(3 * 65_536)
  const [one, two] = [allocate(65_536), allocate(100)]
  one.fill(1)
  assert.deepEqual([one.length, two.length, two.equals(Buffer.alloc(100))], [65_536, 100, true])
  assert.equal(allocate(1).length, 1)
  assert.throws(() => allocate(1), RangeError)
})
