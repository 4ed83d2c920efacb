import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exitOf } from '../../scripts/backup.ts'
import type { Problem } from '../../provision/runtime/plan.ts'

const exit = (delivered: number, ...kinds: readonly Problem['kind'][]) =>
  exitOf({ delivered, problems: kinds.map((kind) => ({ kind, dataset: 'tank', message: '', hint: '' })) })

test('a run with problems never ends as one without, and a disk that fails comes before all others', () => {
  assert.equal(exit(1), undefined)
  assert.equal(exit(1, 'deletion'), 'refused')
  assert.equal(exit(1, 'no-snapshot'), 'partial')
  assert.equal(exit(1, 'diverged', 'deletion'), 'partial')
  assert.equal(exit(0, 'diverged'), 'diverged')
  assert.equal(exit(1, 'damage'), 'verification')
  assert.equal(exit(0, 'deletion', 'diverged', 'damage'), 'verification')
})
