import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { backup } from '../../../provision/runtime/backup.ts'
import { checkBox, checkHome, checkRoom } from '../../../provision/runtime/consent.ts'
import { receiptOf } from '../../../provision/runtime/receipt.ts'
import { knoxError } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { inventory } from '../../support/simulated-box.ts'
import { homeBehind, listed } from '../../support/stub-home.ts'

const inventoryOf = (guid: string, disk: string, available = 1000) => ({
  pool: { name: 'wd', guid, used: 1, available, disk, trouble: '' },
  datasets: inventory('wd: a'),
})
const receiptFor = (guid: string, disk: string, home?: string) =>
  receiptOf('knox', home, inventoryOf(guid, disk), new Date('2026-11-24T00:00:00Z'))
const NONE = new Set<never>()

describe('what was seen at the last proof is pinned', () => {
  test('another pool on the box, and the same pool on another disk, are told with both names', () => {
    checkBox(undefined, inventoryOf('1', 'A'), NONE)
    checkBox(receiptFor('1', 'A'), inventoryOf('1', 'A'), NONE)
    assert.throws(
      () => checkBox(receiptFor('1', 'A'), inventoryOf('2', 'A'), NONE),
      knoxError('diverged', /not the one of the last proof[^]*guid 2 now, 1 on 2026/),
    )
    assert.throws(
      () => checkBox(receiptFor('1', 'A'), inventoryOf('1', 'B'), NONE),
      knoxError('diverged', /another disk[^]*serial B now, A on 2026[^]*--accept-new-pool/),
    )
    checkBox(receiptFor('1', 'A'), inventoryOf('2', 'B'), new Set(['new-pool']))
  })

  test('a disk that tells no name is no other disk', () => {
    checkBox(receiptFor('1', ''), inventoryOf('1', 'B'), NONE)
    checkBox(receiptFor('1', 'A'), inventoryOf('1', ''), NONE)
  })

  test('another pool at home under the same name', () => {
    checkHome(receiptFor('1', 'A'), inventory('tank: a'), NONE)
    checkHome(receiptFor('1', 'A', 'of tank'), inventory('tank: a'), NONE)
    assert.throws(
      () => checkHome(receiptFor('1', 'A', 'another'), inventory('tank: a'), NONE),
      knoxError('diverged', /tank at home is not the one[^]*--accept-new-home/),
    )
    checkHome(receiptFor('1', 'A', 'another'), inventory('tank: a'), new Set(['new-home']))
  })
})

test('what does not fit is not begun, unless the owner wants to try; what zfs cannot tell is tried', () => {
  checkRoom(1000, inventoryOf('1', ''), NONE)
  checkRoom(undefined, inventoryOf('1', ''), NONE)
  checkRoom(1001, inventoryOf('1', ''), new Set(['full-disk']))
  assert.throws(
    () => checkRoom(1001, inventoryOf('1', ''), NONE),
    knoxError('no-space', /room for[^]*nothing was sent[^]*--accept-full-disk/),
  )
})

test('nothing is begun below a pool without a snapshot of its own: it could never be received onto later', async (t) => {
  const home = await homeBehind(t)
  const begin = [HELLO, 'hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked', ...listed('bk:')]
  const run = () => backup(home.config, { prove: false, accept: new Set() }, ignore)
  await home.zfs('wd:', 'wd/x: c=3')
  await home.box([...begin, 'drain', 'say locked'])
  await assert.rejects(run(), knoxError('diverged', /wd has no snapshot of its own[^]*knox snapshot/))
  await home.zfs('wd:')
  await home.box([...begin, 'hear bye', 'say locked'])
  const { delivered, problems } = await run()
  assert.deepEqual([delivered, problems.map(({ kind }) => kind)], [0, ['no-snapshot']])
})
