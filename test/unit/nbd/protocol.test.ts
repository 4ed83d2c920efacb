import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  blockSizeInfo,
  exportInfo,
  exportReply,
  greeting,
  listed,
  optionReply,
  parseInfoRequest,
  parseRequest,
  replyHeader,
} from '../../../provision/nbd/protocol.ts'
import { infoRequest, request } from './client.ts'

const disk = { name: 'disk', size: 0x1_2345_6789, readOnly: true, canFlush: false }

/** The bytes of doc/proto.md, written by hand. */
describe('the frames', () => {
  const frames: readonly (readonly [string, Buffer, string])[] = [
    ['greeting', greeting(), '4e42444d41474943 49484156454f5054 0003'],
    ['ack of GO', optionReply(7, 1), '0003e889045565a9 00000007 00000001 00000000'],
    [
      'an error of LIST with data',
      optionReply(3, 2 ** 31 + 3, Buffer.from('no')),
      '0003e889045565a9 00000003 80000003 00000002 6e6f',
    ],
    ['INFO_EXPORT, read-only', exportInfo(disk), '0000 0000000123456789 0103'],
    [
      'INFO_EXPORT, writable',
      exportInfo({ ...disk, readOnly: false, canFlush: true }),
      '0000 0000000123456789 000d',
    ],
    ['INFO_EXPORT, without flush', exportInfo({ ...disk, readOnly: false }), '0000 0000000123456789 0001'],
    ['INFO_BLOCK_SIZE', blockSizeInfo(), '0003 00000001 00001000 02000000'],
    ['the end of EXPORT_NAME', exportReply(disk, true), '0000000123456789 0103'],
    ['and with its zeroes', exportReply(disk, false), `0000000123456789 0103 ${'00'.repeat(124)}`],
    ['SERVER', listed('Zürich'), '00000007 5ac3bc72696368'],
    ['a simple reply', replyHeader(22, 0xfedcba9876543210n), '67446698 00000016 fedcba9876543210'],
  ]
  for (const [name, frame, hex] of frames)
    test(name, () => assert.equal(frame.toString('hex'), hex.replaceAll(' ', '')))

  test('a request is read as it was written', () => {
    const ask = fc.record({
      flags: fc.nat(0xffff),
      command: fc.nat(0xffff),
      cookie: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      offset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      length: fc.nat(0xffff_ffff),
    })
    fc.assert(fc.property(ask, (fields) => assert.deepEqual(parseRequest(request(fields)), { ...fields })))
    assert.equal(parseRequest(Buffer.alloc(28)), undefined)
  })

  test('what INFO and GO ask for is read as it was written, and nothing that is cut or too long', () => {
    const wanted = fc.array(fc.nat(0xffff), { maxLength: 20 })
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), wanted, fc.nat(), (name, numbers, place) => {
        const data = infoRequest(name, ...numbers)
        assert.deepEqual(parseInfoRequest(data), { name, wanted: numbers })
        assert.equal(parseInfoRequest(data.subarray(0, place % data.length)), undefined)
        assert.equal(parseInfoRequest(Buffer.concat([data, Buffer.alloc(1)])), undefined)
      }),
    )
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (noise) => {
        const parsed = parseInfoRequest(Buffer.from(noise))
        assert.ok(parsed === undefined || parsed.wanted.length <= 20)
      }),
    )
  })
})
