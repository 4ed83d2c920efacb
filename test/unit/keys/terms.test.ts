import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { parseSourceAddress } from '../../../provision/keys/source-address.ts'
import { FOREVER, formatEnd, isExpired, parseValidity, validFor } from '../../../provision/keys/validity.ts'
import { isTame, knoxError, NOW, noSshKeygen, run, tempFolder } from './helpers.ts'

describe('validity', () => {
  test('forever is always to forever', () => {
    assert.deepEqual(parseValidity('forever', NOW), FOREVER)
    assert.equal(formatEnd(FOREVER.after), 'always')
    assert.equal(formatEnd(FOREVER.before), 'forever')
  })

  test('days end that many days from now, and begin long before the box’s clock can be', () => {
    const validity = parseValidity('365d', NOW)
    assert.equal(formatEnd(validity.after), '2015-01-01T00:00:00Z')
    assert.equal(formatEnd(validity.before), '2027-11-23T12:00:00Z')
  })

  test('anything else is refused', () => {
    for (const text of ['', '0d', '-1d', '365', '1y', '1.5d', '365 d', '100000d', 'always'])
      assert.throws(() => parseValidity(text, NOW), knoxError('usage'), text)
  })

  test('a certificate is expired from its last second on', () => {
    const validity = validFor(1, NOW)
    assert.ok(!isExpired(validity, new Date('2026-11-24T11:59:59Z')))
    assert.ok(isExpired(validity, new Date('2026-11-24T12:00:00Z')))
    assert.ok(!isExpired(FOREVER, new Date(8.64e15)))
  })

  test('every uint64 can be shown', () => {
    const uint64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    fc.assert(fc.property(uint64, (end) => formatEnd(end) !== ''))
  })
})

describe('source addresses', () => {
  const good = '192.168.1.0/24,10.1.2.3,2001:db8::/32,::1,::/0,0.0.0.0/0,::ffff:10.0.0.0/104,fe80::1:2/128'

  test('addresses and networks of both families are taken', () => {
    assert.deepEqual(parseSourceAddress(good), good.split(','))
    assert.deepEqual(parseSourceAddress('10.0.0.1, ::1'), ['10.0.0.1', '::1'])
  })

  test('ssh-keygen signs a certificate with those', { skip: noSshKeygen }, async (t) => {
    const ca = join(await tempFolder(t), 'ca')
    await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', ca])
    const words = ['-s', ca, '-I', 'x', '-n', 'root', '-O', `source-address=${good}`]
    const { code, stderr } = await run(['ssh-keygen', ...words, `${ca}.pub`])
    assert.equal(code, 0, stderr)
  })

  test('what sshd would refuse, and so lock out the owner, is refused', () => {
    const wrong = [
      '',
      '10.0.0.0/8,',
      '10.0.0.1/8',
      '10.0.0.0/33',
      '10.0.0.0/08',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '010.0.0.1',
      '10.0.0',
      '2001:db8::1/32',
      '::/129',
      '::ffff:10.0.0.1/104',
      'fe80::1%eth0',
      '!10.0.0.1',
      '*',
      'knox.example.net',
      '10.0.0.1 10.0.0.2',
    ]
    for (const text of wrong) assert.throws(() => parseSourceAddress(text), knoxError('usage'), text)
  })

  test('every network of an address with its host bits cleared is taken', () => {
    const network = fc.tuple(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.integer({ min: 0, max: 32 }))
    fc.assert(
      fc.property(network, ([address, length]) => {
        const cleared = length === 0 ? 0 : (address >>> (32 - length)) * 2 ** (32 - length)
        const text = [24, 16, 8, 0].map((shift) => (cleared >>> shift) & 255).join('.')
        assert.deepEqual(parseSourceAddress(`${text}/${length}`), [`${text}/${length}`])
      }),
    )
    fc.assert(fc.property(fc.ipV6(), (address) => parseSourceAddress(address).length === 1))
    fc.assert(fc.property(fc.string(), (text) => isTame(() => parseSourceAddress(text))))
  })
})
