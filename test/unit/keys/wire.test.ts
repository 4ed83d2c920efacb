import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  decodeBase64,
  encodeList,
  encodeString,
  encodeUint32,
  encodeUint64,
  readWire,
  type WireReader,
} from '../../../provision/keys/wire.ts'
import { isTame, knoxError } from './helpers.ts'

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array))

const hex = (buffer: Buffer) => buffer.toString('hex')

describe('wire encoding', () => {
  test('the examples of RFC 4251 section 5 are encoded as it shows them', () => {
    assert.equal(hex(encodeUint32(699921578)), '29b7f4aa')
    assert.equal(hex(encodeString('testing')), '0000000774657374696e67')
    assert.equal(hex(encodeString('')), '00000000')
  })

  test('a list is a string of strings', () => {
    assert.equal(hex(encodeList(['a', 'bc'])), '0000000b' + '0000000161' + '000000026263')
    assert.equal(hex(encodeList([])), '00000000')
  })

  test('numbers outside their range are refused', () => {
    assert.throws(() => encodeUint32(2 ** 32), RangeError)
    assert.throws(() => encodeUint32(-1), RangeError)
    assert.throws(() => encodeUint64(2n ** 64n), RangeError)
    assert.throws(() => encodeUint64(-1n), RangeError)
  })

  test('whatever is written is read back', () => {
    const number32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
    const number64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    const text = fc.string({ unit: 'binary' })
    fc.assert(
      fc.property(number32, number64, bytes, text, fc.array(bytes), (u32, u64, string, words, list) => {
        const written = [
          encodeUint32(u32),
          encodeUint64(u64),
          encodeString(string),
          encodeString(words),
          encodeList(list),
        ]
        const reader = readWire(Buffer.concat(written), 'the test')
        assert.equal(reader.uint32(), u32)
        assert.equal(reader.uint64(), u64)
        assert.deepEqual(reader.string(), string)
        assert.equal(reader.text(), words)
        assert.deepEqual(reader.list(), list)
        assert.equal(reader.left(), 0)
        reader.end()
      }),
    )
  })
})

describe('wire reader', () => {
  test('a length beyond the end is refused before anything is allocated', () => {
    const reader = readWire(Buffer.from('ffffffff61', 'hex'), 'the file')
    assert.throws(() => reader.string(), knoxError('config', /^the file is damaged: it ends too early$/))
  })

  test('a string within a list cannot reach beyond the list', () => {
    const list = encodeString(Buffer.concat([encodeUint32(5), Buffer.from('ab')]))
    const reader = readWire(Buffer.concat([list, Buffer.from('cde')]), 'the file')
    assert.throws(() => reader.list(), knoxError('config', /ends too early/))
  })

  test('bytes left over are refused', () => {
    assert.throws(() => readWire(Buffer.from('x'), 'it').end(), knoxError('config', /follows its end/))
  })

  test('a text that is not UTF-8 is refused', () => {
    const reader = readWire(encodeString(Buffer.from('ff', 'hex')), 'it')
    assert.throws(() => reader.text(), knoxError('config', /UTF-8/))
  })

  test('no garbage makes it throw anything but a KnoxError', () => {
    const step = fc.constantFrom<keyof WireReader>('uint32', 'uint64', 'string', 'text', 'list', 'end')
    fc.assert(
      fc.property(bytes, fc.array(step, { maxLength: 10 }), (garbage, steps) => {
        const reader = readWire(garbage, 'garbage')
        return isTame(() => {
          for (const name of steps) (reader[name] as () => unknown)()
        })
      }),
    )
  })
})

describe('base64', () => {
  test('what is not strict base64 is refused', () => {
    for (const text of ['', 'AAA', 'AA=A', 'AAAA=', 'AA A', 'AB==', 'AA-_', 'é'])
      assert.throws(() => decodeBase64(text, 'it'), knoxError('config', /base64/), text)
  })

  test('strict base64 is read', () => {
    const some = bytes.filter(({ length }) => length > 0)
    fc.assert(
      fc.property(some, (value) => assert.deepEqual(decodeBase64(value.toString('base64'), ''), value)),
    )
  })
})
