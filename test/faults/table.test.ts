import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tableOf, type Row } from './table.ts'

const CIRCUMSTANCES = { seed: 7, date: '2026-01-02', versions: 'zfs-2.1.11' }
const held = (name: string): Row => ({
  name,
  verdict: { exitCode: 19, openFor: 24.4, resent: '2.1 MiB', snapshot: 's', hashes: 'h' },
  looked: true,
})

test('a cell that was not run keeps its line of before; one that was never run says so', () => {
  const first = tableOf(['a', 'b', 'c'], [held('a'), held('b')], CIRCUMSTANCES, '')
  assert.match(first, /^\| a \| 19 \| 24 s \| 2.1 MiB \| holds \| 2026-01-02, seed 7 \|$/m)
  assert.match(first, /^\| c \| \| \| \| \*\*not seen yet\*\* \| \|$/m)
  const later = { ...CIRCUMSTANCES, seed: 8, date: '2026-01-03' }
  const second = tableOf(['a', 'b', 'c'], [{ name: 'b', verdict: 'failed: still | open' }], later, first)
  assert.match(second, /^\| a .* holds \| 2026-01-02, seed 7 \|$/m)
  assert.match(second, /^\| b \| \| \| \| \*\*failed: still \/ open\*\* \| 2026-01-03, seed 8 \|$/m)
  assert.match(second, /^\| c .*not seen yet/m)
})

test('the line of a cell that is no longer in the matrix goes', () => {
  const first = tableOf(['a', 'b'], [held('a'), held('b')], CIRCUMSTANCES, '')
  assert.doesNotMatch(tableOf(['b'], [], CIRCUMSTANCES, first), /^\| a /m)
})
