import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readTemplates, renderTemplate, renderText } from '../../../provision/image/render.ts'
import { knoxError } from './helpers.ts'

describe('filling a template', () => {
  test('values, conditions and lists', () => {
    const template =
      'a={{a}}\n{{#if b}}\nyes\n{{else}}\nno\n{{/if}}\n{{#each c}}\n- {{this}}\n{{/each}}\nend\n'
    assert.equal(renderText(template, { a: 'x', b: true, c: ['1', '2'] }), 'a=x\nyes\n- 1\n- 2\nend\n')
    assert.equal(renderText(template, { a: 'x', b: false, c: [] }), 'a=x\nno\nend\n')
  })

  test('nothing is escaped: these are not web pages', () => {
    assert.equal(renderText("'{{a}}' & <b>", { a: '/x@y' }), "'/x@y' & <b>")
  })

  for (const template of [
    '{{missing}}',
    '{{#if missing}}x{{/if}}',
    '{{#unless missing}}x{{/unless}}',
    '{{#each missing}}x{{/each}}',
    '{{#if there}}{{missing}}{{/if}}',
    '{{there.missing}}',
    '{{constructor}}',
    '{{#if toString}}x{{/if}}',
  ])
    test(`a missing value is an error: ${template}`, () => {
      assert.throws(() => renderText(template, { there: 'x' }), knoxError('config', /cannot be filled/))
    })

  test('the error names the value that is missing', () => {
    assert.throws(() => renderText('{{#if nobody}}x{{/if}}', {}), knoxError('config', /nobody/))
    assert.throws(() => renderText('{{nobody}}', {}), knoxError('config', /nobody/))
  })

  test('a value that is there but not used is no error, an unknown template is', () => {
    assert.equal(renderText('x', { unused: 'y' }), 'x')
    assert.throws(() => renderTemplate(new Map(), 'fstab', {}), knoxError('config', /no template fstab.hbs/))
  })

  test('a template that is not one is an error, not a crash', () => {
    assert.throws(() => renderText('{{#if a}}', { a: 'x' }), knoxError('config', /cannot be filled/))
  })

  const HOSTILE = [
    "'",
    '"',
    '`',
    '\\',
    '$(x)',
    '${x}',
    ';',
    '&',
    '|',
    '<',
    '>',
    '#',
    '*',
    '(',
    '{{a}}',
    '\0',
    'é',
  ]
  for (const piece of [...HOSTILE, '\n', '\r', '\t', '\u001b', '\u2028', '\u202e'])
    test(`a value with ${JSON.stringify(piece)} is refused, wherever it stands`, () => {
      for (const value of [piece, `x${piece}`, `${piece}x`, `x${piece}x`])
        for (const values of [{ a: value }, { a: ['x', value] }, { a: 'x', unused: value }])
          assert.throws(() => renderText('{{a}}', values), knoxError('config', /cannot stand in a file/))
    })

  test('an empty value is refused: it is a missing one', () => {
    assert.throws(() => renderText('{{a}}', { a: '' }), knoxError('config'))
  })

  test('whatever is let through stands in the result as it is, on its line', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 8 }), (value) => {
        let result: string
        try {
          result = renderText("a='{{a}}'\nb\n", { a: value })
        } catch (error) {
          return knoxError('config')(error)
        }
        return result === `a='${value}'\nb\n` && /^a='[^'"`$\\]+'\nb\n$/.test(result)
      }),
      { numRuns: 2000 },
    )
  })

  test('every file of templates/ is read', async () => {
    const names = [...(await readTemplates()).keys()]
    for (const name of ['fstab', 'rc.conf', 'sshd_config', 'ttys', 'loader.conf', 'knox-zfs-receive.sh'])
      assert.ok(names.includes(name), name)
  })
})
