import assert from 'node:assert/strict'
import { createPublicKey, verify as verifyByNode } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { keyPairOf, makeKeyPair, sign, verify } from '../../../provision/keys/ed25519.ts'
import {
  fingerprint,
  publicKeyBlob,
  publicKeyLine,
  readPublicKeyBlob,
  readPublicKeyLine,
} from '../../../provision/keys/public-key.ts'
import { isTame, knoxError, noSshKeygen, sshKeygen } from './helpers.ts'

/** RFC 8032 section 7.1, tests 1 to 3 */
const VECTORS = [
  {
    seed: '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    publicKey: 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    message: '',
    signature:
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  },
  {
    seed: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    publicKey: '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    message: '72',
    signature:
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  {
    seed: 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7',
    publicKey: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    message: 'af82',
    signature:
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  },
]

const bytes = (hex: string) => Buffer.from(hex, 'hex')

describe('ed25519', () => {
  test('keys and signatures are those of RFC 8032', () => {
    for (const { seed, publicKey, message, signature } of VECTORS) {
      const pair = makeKeyPair(bytes(seed))
      assert.equal(pair.publicKey.toString('hex'), publicKey)
      assert.equal(sign(pair, bytes(message)).toString('hex'), signature)
      assert.ok(verify(pair.publicKey, bytes(message), bytes(signature)))
    }
  })

  test('OpenSSL accepts the signatures', () => {
    const pair = makeKeyPair()
    const message = Buffer.from('a certificate')
    const spki = Buffer.concat([bytes('302a300506032b6570032100'), pair.publicKey])
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    assert.ok(verifyByNode(null, message, key, sign(pair, message)))
  })

  test('two key pairs differ', () => {
    assert.notDeepEqual(makeKeyPair().publicKey, makeKeyPair().publicKey)
  })

  test('a changed message, signature or key is not accepted, whatever its length', () => {
    const pair = makeKeyPair(bytes(VECTORS[0]!.seed))
    const message = Buffer.from('message')
    const signature = sign(pair, message)
    assert.ok(!verify(pair.publicKey, Buffer.from('massage'), signature))
    assert.ok(!verify(makeKeyPair().publicKey, message, signature))
    for (const length of [0, 63]) assert.ok(!verify(pair.publicKey, message, signature.subarray(0, length)))
    assert.ok(!verify(Buffer.alloc(31), message, signature))
    assert.ok(!verify(Buffer.alloc(32), message, Buffer.alloc(64)), 'a key of small order signs everything')
  })

  test('a private key does not print', () => {
    const pair = makeKeyPair()
    assert.equal(JSON.stringify(pair.privateKey), '"[secret private key]"')
  })

  test('a stored private key whose halves do not belong together is refused', () => {
    const [one, other] = [makeKeyPair(), makeKeyPair()]
    const mixed = Buffer.concat([one.privateKey.reveal().subarray(0, 32), other.publicKey])
    assert.throws(() => keyPairOf(mixed, 'it'), knoxError('config', /belong together/))
    assert.throws(() => keyPairOf(mixed.subarray(1), 'it'), knoxError('config', /length/))
  })
})

describe('public keys', () => {
  test('ssh-keygen reads the line and prints the same fingerprint', { skip: noSshKeygen }, async (t) => {
    const { publicKey } = makeKeyPair()
    const { stdout } = await sshKeygen(t, publicKeyLine(publicKey, 'root@knox'), '-l')
    assert.equal(stdout, `256 ${fingerprint(publicKey)} root@knox (ED25519)\n`)
  })

  test('a line is read back, with or without comment and newline', () => {
    const { publicKey } = makeKeyPair()
    const line = publicKeyLine(publicKey, 'a comment of words')
    assert.deepEqual(readPublicKeyLine(line, ''), publicKey)
    assert.deepEqual(readPublicKeyLine(line.replace('\n', '\r\n'), ''), publicKey)
    assert.deepEqual(readPublicKeyLine(line.split(' ').slice(0, 2).join(' '), ''), publicKey)
  })

  test('what is not an Ed25519 public key is refused', () => {
    const blob = publicKeyBlob(makeKeyPair().publicKey)
    const rsa = Buffer.from(blob)
    rsa.write('ssh-rsa-xxx', 4)
    const cases = [blob.subarray(0, -1), blob.subarray(0, 3), Buffer.concat([blob, blob]), rsa]
    for (const wrong of cases) assert.throws(() => readPublicKeyBlob(wrong, 'it'), knoxError('config'))
    for (const line of ['', 'ssh-ed25519', 'ssh-ed25519 AAAA', 'ssh-rsa AAAA', ` ssh-ed25519 x`])
      assert.throws(() => readPublicKeyLine(line, 'it'), knoxError('config'), line)
  })

  test('no line makes the reader throw anything but a KnoxError', () => {
    fc.assert(fc.property(fc.string(), (text) => isTame(() => readPublicKeyLine(text, ''))))
    fc.assert(
      fc.property(fc.base64String(), (text) => isTame(() => readPublicKeyLine(`ssh-ed25519 ${text}`, ''))),
    )
  })
})
