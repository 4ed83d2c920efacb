import assert from 'node:assert/strict'
import { createHmac, pbkdf2Sync } from 'node:crypto'
import { describe, test } from 'node:test'
import { joinPassfiles, userKey } from '../../../provision/geli/user-key.ts'
import { knoxError } from '../../support/expect.ts'

const salt = Buffer.alloc(64, 7)
const none = { salt, iterations: -1 }
const file = Buffer.from('one')
const other = Buffer.from('two')
const passphrase = Buffer.from('pässword')
const mac = (...parts: Buffer[]) => createHmac('sha512', '').update(Buffer.concat(parts)).digest()

describe('the user key', () => {
  test('is of all key files in their order, whole, and nothing else', async () => {
    assert.deepEqual(await userKey(none, { keyFiles: [file, other] }), mac(file, other))
    assert.notDeepEqual(await userKey(none, { keyFiles: [other, file] }), mac(file, other))
    assert.deepEqual(await userKey({ salt, iterations: 9 }, { keyFiles: [file] }), mac(file))
  })

  test('takes a passphrase after them: salted for 0 iterations, stretched for more', async () => {
    const keyFiles = [file]
    assert.deepEqual(
      await userKey({ salt, iterations: 0 }, { keyFiles, passphrase }),
      mac(file, salt, passphrase),
    )
    const stretched = pbkdf2Sync(passphrase, salt, 5, 64, 'sha512')
    assert.deepEqual(await userKey({ salt, iterations: 5 }, { keyFiles, passphrase }), mac(file, stretched))
    assert.deepEqual(await userKey({ salt, iterations: 5 }, { passphrase }), mac(stretched))
  })

  test('of an empty passphrase is not that of none', async () => {
    const empty = await userKey({ salt, iterations: 0 }, { keyFiles: [file], passphrase: Buffer.alloc(0) })
    assert.deepEqual(empty, mac(file, salt))
  })

  test('leaves the caller’s buffers as they were', async () => {
    await userKey({ salt, iterations: 0 }, { keyFiles: [file, other], passphrase })
    assert.deepEqual([file, other, passphrase].map(String), ['one', 'two', 'pässword'])
    assert.ok(salt.every((byte) => byte === 7))
  })

  test('a passphrase is a C string of at most 1023 bytes', async () => {
    const zero = { salt, iterations: 0 }
    assert.deepEqual(await userKey(zero, { passphrase: Buffer.from('ab\0cd') }), mac(salt, Buffer.from('ab')))
    await userKey(zero, { passphrase: Buffer.alloc(1023, 'x') })
    await assert.rejects(
      userKey(zero, { passphrase: Buffer.alloc(1024, 'x') }),
      knoxError('usage', /1023 bytes/),
    )
  })

  test('refuses nothing at all, a passphrase where none was used, and iterations that cannot be', async () => {
    await assert.rejects(userKey(none, {}), knoxError('usage'))
    await assert.rejects(userKey(none, { keyFiles: [] }), knoxError('usage'))
    await assert.rejects(
      userKey(none, { keyFiles: [file], passphrase }),
      knoxError('key-rejected', /made without a passphrase/),
    )
    await assert.rejects(
      userKey({ salt, iterations: -2 }, { passphrase }),
      knoxError('verification', /-2 iterations/),
    )
  })
})

test('passfiles: the first line of each, up to a NUL, joined', () => {
  const files = ['first\nsecond', 'no newline', '', '\nx', 'nul\0rest\n', 'crlf\r\n'].map((text) =>
    Buffer.from(text),
  )
  assert.equal(joinPassfiles(files).toString(), 'firstno newlinenulcrlf\r')
})
