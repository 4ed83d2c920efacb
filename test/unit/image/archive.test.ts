import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import { archiveOf, bytesOf } from '../../../provision/image/archive.ts'
import { overlay, tempFolder } from './helpers.ts'

/** The overlay as a tar archive, read by the system's own tar. */

const TIME = new Date('2016-02-16T00:00:00Z')

describe('an archive of the box’s files', () => {
  test('is what tar unpacks: content, mode, time, links', async (t) => {
    const files = await overlay()
    const dir = await tempFolder(t)
    const archive = archiveOf(files, TIME).reveal()
    const { status, stderr } = spawnSync('tar', ['-xpf', '-', '-C', dir], {
      input: archive,
      encoding: 'utf8',
    })
    assert.deepEqual([status, stderr], [0, ''])
    for (const file of files) {
      const path = join(dir, file.path)
      const bytes = bytesOf(file)
      if (bytes === undefined) assert.deepEqual({ linkTo: readlinkSync(path) }, file.content)
      else {
        assert.ok(readFileSync(path).equals(bytes), file.path)
        assert.equal(lstatSync(path).mode & 0o7777, file.mode, file.path)
        assert.equal(lstatSync(path).mtime.getTime(), TIME.getTime())
      }
    }
  })

  test('gives everything to root by number', async () => {
    const { stdout } = spawnSync('tar', ['-tvf', '-'], {
      input: archiveOf(await overlay(), TIME).reveal(),
      encoding: 'utf8',
    })
    const lines = stdout.trimEnd().split('\n')
    assert.equal(lines.length, 15)
    for (const line of lines) assert.match(line, /^\S+\s+(?:0\/0|0\s+0\s+0)\s/)
  })

  test('is the same for the same files, and shows nothing of them', async () => {
    const [one, other] = [archiveOf(await overlay(), TIME), archiveOf(await overlay(), TIME)]
    assert.ok(one.reveal().equals(other.reveal()))
    assert.ok(!one.reveal().equals(archiveOf(await overlay(), new Date('2017-01-01T00:00:00Z')).reveal()))
    assert.equal(inspect(one), '[secret files of the box]')
  })

  test('refuses a path that has no room in it', () => {
    const file = { path: `/${'x'.repeat(100)}`, mode: 0o644, owner: { uid: 0, gid: 0 }, content: '' } as const
    assert.throws(() => archiveOf([file], TIME), RangeError)
  })
})
