import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fitted } from '../../../provision/cli/prompts.ts'

test('a question is broken between words only, and no line is longer than the terminal', () => {
  const word = fc.stringMatching(/^[!-~]{1,12}$/)
  fc.assert(
    fc.property(
      fc.array(word, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 16, max: 80 }),
      (words, columns) => {
        const text = words.join(' ')
        const lines = fitted(text, columns).split('\n')
        assert.equal(lines.join(' '), text)
        for (const [n, line] of lines.entries()) assert.ok(line.length + (n === 0 ? 2 : 0) < columns, line)
      },
    ),
  )
  const question =
    'everything on da0 (WD Elements 25A2, serial WX11, 1.8 TiB) will be lost; type WX11 to go on:'
  assert.equal(
    fitted(question, 60),
    'everything on da0 (WD Elements 25A2, serial WX11, 1.8\nTiB) will be lost; type WX11 to go on:',
  )
  // a terminal that does not know its width
  for (const columns of [0, undefined]) assert.equal(fitted('short', columns), 'short')
})
