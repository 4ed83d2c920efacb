import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checkBox, checkHome, checkRoom } from '../../../provision/runtime/consent.ts'
import { receiptOf } from '../../../provision/runtime/receipt.ts'
import { knoxError } from '../../support/expect.ts'
import { inventory } from '../../support/simulated-box.ts'

const inventoryOf = (guid: string, disk: string, available = 1000) => ({
  pool: { name: 'wd', guid, used: 1, available, disk },
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
