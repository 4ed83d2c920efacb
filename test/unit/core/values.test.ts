import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { format, inspect } from 'node:util'
import fc from 'fast-check'
import { exitCodeTable } from '../../../provision/cli/meanings.ts'
import {
  EXIT_CODES,
  exitCodeOf,
  KnoxError,
  messageOf,
  type ErrorCode,
} from '../../../provision/core/errors.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { formatBytes, formatDuration } from '../../../provision/core/sizes.ts'

describe('a secret', () => {
  const KEY = 'tr0ub4dor-and-3'
  const secret = new Secret('disk key', KEY)

  test('shows its label and never its bytes, however it is printed', () => {
    const error = new KnoxError('failed', ['it was', secret].join(' '), [String(secret)], { cause: secret })
    const shown = [
      String(secret),
      secret.toString(),
      JSON.stringify({ secret, list: [secret] }),
      inspect(secret),
      inspect(
        { deep: { er: [secret] } },
        { depth: 10, showHidden: true, getters: true, customInspect: true },
      ),
      inspect(secret, { customInspect: false, showHidden: true, depth: 10 }),
      format('%s %o %O %j %d', secret, secret, secret, secret, secret),
      inspect(error, { showHidden: true, depth: 10 }),
      error.stack ?? '',
      JSON.stringify(Object.entries(secret)),
      JSON.stringify(structuredClone(Object.assign({}, secret))),
      [secret, secret].join(),
    ]
    const forms = [KEY, Buffer.from(KEY).toString('hex'), Buffer.from(KEY).toString('base64'), '74 72 30 75']
    for (const text of shown) for (const form of forms) assert.ok(!text.includes(form), text)
    assert.equal(String(secret), '[secret disk key]')
    assert.equal(JSON.stringify({ secret }), '{"secret":"[secret disk key]"}')
  })

  test('gives back exactly its bytes, and is not changed with the buffer it was made of', () => {
    const bytes = Buffer.from([0, 10, 13, 255, 128])
    const own = new Secret('x', bytes)
    bytes.fill(1)
    assert.deepEqual([...own.reveal()], [0, 10, 13, 255, 128])
  })
})

describe('errors and exit codes', () => {
  const codes = Object.entries(EXIT_CODES) as readonly (readonly [ErrorCode | 'ok', number])[]

  test('every error code ends with its own exit code, between 1 and 255', () => {
    for (const [code, exit] of codes) {
      if (code === 'ok') continue
      assert.equal(exitCodeOf(new KnoxError(code, 'x')), exit)
      assert.ok(exit > 0 && exit < 256)
    }
    assert.equal(new Set(codes.map(([, exit]) => exit)).size, codes.length)
  })

  test('whatever else is thrown is a bug and ends with 1, never with 0', () => {
    for (const thrown of [new Error('x'), 'x', undefined, null, 0, { code: 'ok' }])
      assert.equal(exitCodeOf(thrown), 1, inspect(thrown))
    assert.equal(messageOf(new Error('why')), 'why')
    assert.equal(messageOf('why'), 'why')
  })

  test('--help has a line with words for each exit code', () => {
    const table = new Map(
      [...exitCodeTable().matchAll(/^ +(\d+) {2}(.{10,})$/gm)].map(([, n, text]) => [Number(n), text]),
    )
    assert.deepEqual(
      [...table.keys()],
      codes.map(([, exit]) => exit),
    )
  })

  test('the table of the README has the same exit codes', async () => {
    const readme = await readFile(join(import.meta.dirname, '../../../README.md'), 'utf8')
    const rows = [...readme.matchAll(/^\| (\d+) \| (.{10,}) \|$/gm)].map(([, exit]) => Number(exit))
    assert.deepEqual(
      rows,
      codes.map(([, exit]) => exit),
    )
  })
})

describe('sizes', () => {
  test('bytes have two or three figures and a binary unit', () => {
    const cases: readonly (readonly [number, string])[] = [
      [0, '0 B'],
      [1, '1 B'],
      [999, '999 B'],
      [1000, '0.98 KiB'],
      [1024, '1.0 KiB'],
      [10_240, '10.0 KiB'],
      [1_048_576, '1.0 MiB'],
      [40_055_603, '38.2 MiB'],
      [442_381_631_488, '412 GiB'],
      [2 ** 40 * 1.4, '1.4 TiB'],
      [2 ** 60, '1024 PiB'],
    ]
    for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text)
  })

  test('durations are told in the two largest units', () => {
    const cases: readonly (readonly [number, string])[] = [
      [-5, '0 s'],
      [0.4, '0 s'],
      [59.4, '59 s'],
      [59.6, '1 min 00 s'],
      [185, '3 min 05 s'],
      [3599.7, '1 h 00 min'],
      [7800, '2 h 10 min'],
      [356_400, '4 d 3 h'],
    ]
    for (const [seconds, text] of cases) assert.equal(formatDuration(seconds), text)
  })

  test('whatever the number, the text is short and no NaN', () => {
    const size = fc.double({ min: 0, max: 2 ** 62, noNaN: true })
    fc.assert(
      fc.property(
        size,
        (n) => /^[0-9.]{1,5} ([KMGTP]i)?B$/.test(formatBytes(n)) && formatDuration(n).length < 30,
      ),
    )
  })
})
