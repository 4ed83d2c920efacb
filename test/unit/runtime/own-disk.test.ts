import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { isOnOwnDisk } from '../../../provision/runtime/own-disk.ts'
import { tempFolder, withEnv, writeProgram } from '../../support/expect.ts'

/** another file system than the one of the key folder, on Linux and FreeBSD */
const ELSEWHERE = '/dev/stick.tar'

test('a copy is lost with home if it lies in its file systems or on the pool that is backed up', async (t) => {
  const dir = await tempFolder(t)
  await mkdir(join(dir, 'bin'))
  withEnv(t, { PATH: join(dir, 'bin') })
  assert.equal(await isOnOwnDisk(join(dir, 'stick.tar'), dir, 'tank'), true)
  // no zfs here
  assert.equal(await isOnOwnDisk(ELSEWHERE, dir, 'tank'), false)
  // a stand-in for zfs(8), `zfs list -H -o name PATH` only
  await writeProgram(
    join(dir, 'bin'),
    'zfs',
    '[ "$*" = "list -H -o name /dev" ] || exit 2; echo tank/home/ann',
  )
  assert.equal(await isOnOwnDisk(ELSEWHERE, dir, 'tank'), true)
  assert.equal(await isOnOwnDisk(ELSEWHERE, dir, 'tan'), false)
})
