import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { Secret } from '../../../provision/core/secret.ts'
import { makeKeyPair } from '../../../provision/keys/ed25519.ts'
import { publicKeyLine } from '../../../provision/keys/public-key.ts'
import { inspectPrivateKey, readPrivateKey, writePrivateKey } from '../../../provision/keys/private-key.ts'
import { encodeString } from '../../../provision/keys/wire.ts'
import {
  isTame,
  knoxError,
  noSshKeygen,
  PASSPHRASE,
  passphrase,
  run,
  sshKeygen,
  tempFolder,
} from './helpers.ts'

const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----\n'
const END = '-----END OPENSSH PRIVATE KEY-----\n'

const key = { ...makeKeyPair(), comment: 'root@knox' }
const wrong = new Secret('passphrase', 'incorrect horse')

const armor = (bytes: Buffer): Secret => new Secret('file', `${BEGIN}${bytes.toString('base64')}\n${END}`)
const unarmor = (file: Secret): Buffer =>
  Buffer.from(
    file
      .reveal()
      .toString()
      .replace(/-----.*\n/g, ''),
    'base64',
  )

/** A key file that ssh-keygen made. */
const made = async (t: TestContext, ...words: string[]): Promise<Secret> => {
  const path = join(await tempFolder(t), 'key')
  const { code } = await run(['ssh-keygen', '-q', '-t', 'ed25519', '-C', 'root@knox', ...words, '-f', path])
  assert.equal(code, 0)
  return new Secret('file', await readFile(path))
}

describe('private key files that knox writes', () => {
  test('ssh-keygen opens one in the clear', { skip: noSshKeygen }, async (t) => {
    const file = writePrivateKey(key).reveal()
    const { stdout } = await sshKeygen(t, file, '-y', '-P', '')
    assert.equal(stdout, publicKeyLine(key.publicKey, 'root@knox'))
  })

  test('ssh-keygen opens an encrypted one by its passphrase only', { skip: noSshKeygen }, async (t) => {
    const file = writePrivateKey(key, passphrase).reveal()
    const opened = await sshKeygen(t, file, '-y', '-P', PASSPHRASE)
    assert.equal(opened.stdout, publicKeyLine(key.publicKey, 'root@knox'))
    for (const other of ['', 'incorrect horse']) {
      const refused = await sshKeygen(t, file, '-y', '-P', other)
      assert.notEqual(refused.code, 0)
      assert.match(refused.stderr, /incorrect passphrase/)
    }
  })

  test(
    'in the clear they are ssh-keygen’s bytes, but for the check numbers',
    { skip: noSshKeygen },
    async (t) => {
      for (const comment of ['', 'a', 'root@knox', 'twelve bytes']) {
        const theirs = await made(t, '-N', '', '-C', comment)
        const ours = writePrivateKey(readPrivateKey(theirs, 'theirs'))
        const withoutCheck = (file: Secret) => {
          const bytes = unarmor(file)
          const at = bytes.lastIndexOf(encodeString('ssh-ed25519'))
          return bytes.fill(0, at - 8, at)
        }
        assert.deepEqual(withoutCheck(ours), withoutCheck(theirs))
        const widths = (file: Secret) =>
          file
            .reveal()
            .toString()
            .split('\n')
            .map(({ length }) => length)
        assert.deepEqual(widths(ours), widths(theirs))
      }
    },
  )

  test('the same key and passphrase never give the same file twice', () => {
    const [one, other] = [writePrivateKey(key, passphrase), writePrivateKey(key, passphrase)]
    assert.notDeepEqual(one.reveal(), other.reveal())
  })

  test('an empty passphrase does not pass for encryption', () => {
    assert.throws(() => writePrivateKey(key, new Secret('passphrase', '')), knoxError('key-rejected'))
  })
})

describe('private key files that knox reads', () => {
  test('those of ssh-keygen, in the clear and encrypted', { skip: noSshKeygen }, async (t) => {
    const clear = await made(t, '-N', '')
    assert.equal(readPrivateKey(clear, 'it').comment, 'root@knox')
    const encrypted = await made(t, '-N', PASSPHRASE, '-a', '20')
    const read = readPrivateKey(encrypted, 'it', passphrase)
    assert.deepEqual(inspectPrivateKey(encrypted, 'it'), { publicKey: read.publicKey, encrypted: true })
    const { stdout } = await sshKeygen(t, encrypted.reveal(), '-y', '-P', PASSPHRASE)
    assert.equal(stdout, publicKeyLine(read.publicKey, 'root@knox'))
  })

  test('its own, for any seed, comment and passphrase', () => {
    const seed = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const roundTrip = (bytes: Uint8Array, comment: string, words?: Secret) => {
      const one = { ...makeKeyPair(Buffer.from(bytes)), comment }
      const back = readPrivateKey(writePrivateKey(one, words), 'it', words)
      assert.deepEqual(back.privateKey.reveal(), one.privateKey.reveal())
      assert.deepEqual(back.publicKey, one.publicKey)
      assert.equal(back.comment, comment)
    }
    const comment = fc.string({ unit: 'binary' })
    fc.assert(fc.property(seed, comment, (bytes, words) => roundTrip(bytes, words)))
    const words = fc.string({ unit: 'binary', minLength: 1 }).map((text) => new Secret('passphrase', text))
    fc.assert(fc.property(seed, comment, words, roundTrip), { numRuns: 5 })
  })

  test('a wrong, empty or missing passphrase is rejected by name of the file', () => {
    const file = writePrivateKey(key, passphrase)
    const rejected = knoxError('key-rejected')
    assert.throws(() => readPrivateKey(file, 'knox-ca', wrong), knoxError('key-rejected', /open knox-ca$/))
    assert.throws(() => readPrivateKey(file, 'knox-ca', new Secret('passphrase', '')), rejected)
    assert.throws(() => readPrivateKey(file, 'knox-ca'), rejected)
  })

  test('the error for a wrong passphrase does not hold it', () => {
    const file = writePrivateKey(key, passphrase)
    assert.throws(
      () => readPrivateKey(file, 'knox-ca', wrong),
      (error: Error) => !`${error.message} ${error.stack ?? ''}`.includes('incorrect horse'),
    )
  })
})

describe('private key files that are refused', () => {
  const clear = unarmor(writePrivateKey(key))

  test('a truncated file, wherever it ends', () => {
    for (let length = 0; length < clear.length; length += 1)
      assert.throws(() => readPrivateKey(armor(clear.subarray(0, length)), 'it'), knoxError('config'))
    const encrypted = unarmor(writePrivateKey(key, passphrase))
    for (let length = 0; length < encrypted.length; length += 1) {
      const cut = armor(encrypted.subarray(0, length))
      assert.throws(() => readPrivateKey(cut, 'it', passphrase), knoxError('config'))
    }
  })

  test('a file with something after its end', () => {
    const longer = armor(Buffer.concat([clear, Buffer.alloc(8)]))
    assert.throws(() => readPrivateKey(longer, 'it'), knoxError('config', /follows/))
  })

  test('any other text', () => {
    const text = writePrivateKey(key).reveal().toString()
    const cases = [
      '',
      'x',
      BEGIN,
      `${BEGIN}${END}`,
      text.replace('BEGIN OPENSSH', 'BEGIN RSA'),
      text.replace(END, ''),
      `${text}x`,
      text.replace('b3Bl', 'b3B*'),
    ]
    for (const one of cases)
      assert.throws(() => readPrivateKey(new Secret('file', one), 'it'), knoxError('config'), one)
  })

  test('wrong check numbers, padding or public part', () => {
    const at = clear.lastIndexOf(encodeString('ssh-ed25519'))
    for (const [offset, pattern] of [
      [at - 8, /check numbers/],
      [clear.length - 1, /padding/],
      [clear.indexOf(key.publicKey), /belong together/],
      [clear.indexOf(key.publicKey, at), /belong together/],
    ] as const) {
      const bent = Buffer.from(clear)
      bent[offset]! ^= 1
      assert.throws(() => readPrivateKey(armor(bent), 'it'), knoxError('config', pattern))
    }
  })

  test('a cipher that knox does not read, with the way out', { skip: noSshKeygen }, async (t) => {
    const file = await made(t, '-N', PASSPHRASE, '-Z', 'aes128-cbc')
    assert.throws(() => readPrivateKey(file, 'it', passphrase), knoxError('config', /does not read/))
  })

  test('a number of rounds that would take for ever', () => {
    const encrypted = unarmor(writePrivateKey(key, passphrase))
    const at = encrypted.indexOf(encodeString('bcrypt')) + 10 + 4 + 4 + 16
    for (const rounds of [0, 1025, 0xffff_ffff]) {
      const bent = Buffer.from(encrypted)
      bent.writeUInt32BE(rounds, at)
      assert.throws(() => readPrivateKey(armor(bent), 'it', passphrase), knoxError('config', /rounds/))
    }
  })

  test('no change of a byte and no garbage makes it throw anything but a KnoxError', () => {
    fc.assert(
      fc.property(fc.nat(clear.length - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
        const bent = Buffer.from(clear)
        bent[at]! ^= bits
        return isTame(() => readPrivateKey(armor(bent), 'it', undefined))
      }),
      { numRuns: 300 },
    )
    fc.assert(
      fc.property(fc.uint8Array(), (garbage) =>
        isTame(() => readPrivateKey(armor(Buffer.concat([clear.subarray(0, 15), garbage])), 'it')),
      ),
    )
  })
})
