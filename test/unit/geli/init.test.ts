import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, test } from 'node:test'
import { deleteKey, initMetadata, setKey } from '../../../provision/geli/init.ts'
import { openSlots, slotOf } from '../../../provision/geli/master-key.ts'
import { encodeMetadata, METADATA_BYTES, parseMetadata } from '../../../provision/geli/metadata.ts'
import { userKey } from '../../../provision/geli/user-key.ts'
import { knoxError } from '../../support/expect.ts'
import { credentialsOf, deviceOf, stream, vectors, type Vector } from './vectors.ts'

/** The random bytes of a vector, in the order in which they are asked for. */
const randomOf = (vector: Vector) => {
  let at = 0
  return (length: number): Buffer => {
    at += length
    return Buffer.from(stream(`geli:${vector.name}:rng`, at - length, length))
  }
}

const AUTH = 0x10
const made = vectors.filter(
  ({ metadata, geli_command, keys }) =>
    (metadata.flags & AUTH) === 0 && /^geli init [^;&\n]*$/.test(geli_command) && keys.users.length === 1,
)

describe('geli init', () => {
  for (const vector of made)
    test(`makes the bytes of FreeBSD’s vector ${vector.name}`, async () => {
      const { metadata, damage } = vector
      const { version, flags, ealgo, keylen, provsize, sectorsize, iterations } = metadata
      const written = Buffer.from(await (await deviceOf(vector)).read(metadata.offset, METADATA_BYTES))
      if (damage !== undefined) {
        const at = damage.offset - metadata.offset
        if (at >= 0 && at < METADATA_BYTES) written.writeUInt8(written.readUInt8(at) ^ damage.xor, at)
      }
      const ours = await initMetadata({
        ...credentialsOf(vector, vector.keys.users[0]!),
        ...{ version, flags, ealgo, keylen, provsize, sectorsize, iterations },
        random: randomOf(vector),
      })
      assert.deepEqual(encodeMetadata(ours).subarray(0, METADATA_BYTES), written)
    })

  test('there are vectors to make', () => assert.ok(made.length >= 5))

  const keyFiles = [Buffer.from('key')]
  const small = { provsize: 2 ** 20, sectorsize: 4096, keyFiles }

  test('without more said makes version 7, AES-XTS 128, no flags, no passphrase, slot 0', async () => {
    const { salt, mkeys, ...fields } = await initMetadata(small)
    assert.deepEqual(fields, {
      ...{ version: 7, flags: 0, ealgo: 22, keylen: 128, aalgo: 0, keys: 1, iterations: -1 },
      ...{ provsize: 2 ** 20, sectorsize: 4096 },
    })
    assert.equal(salt.length + mkeys.length, 64 + 384)
  })

  test('takes new random bytes for each', async () => {
    const [one, two] = await Promise.all([initMetadata(small), initMetadata(small)])
    assert.notDeepEqual(one.salt, two.salt)
    for (const slot of [0, 1]) assert.notDeepEqual(slotOf(one, slot), slotOf(two, slot))
    const user = await userKey(one, small)
    assert.notDeepEqual(openSlots(one, user).dataKey, openSlots(two, user).dataKey)
  })

  test('leaves no master key in the clear, nor in the random bytes that it was given', async () => {
    const drawn: Buffer[] = []
    const random = (length: number) => {
      drawn.push(randomBytes(length))
      return drawn.at(-1)!
    }
    const metadata = await initMetadata({ ...small, random })
    assert.deepEqual(drawn[1], Buffer.alloc(384))
    const { ivKey, dataKey } = openSlots(metadata, await userKey(metadata, small))
    const sector = encodeMetadata(metadata)
    for (const key of [ivKey, dataKey])
      for (let at = 0; at < 64; at += 16) assert.equal(sector.indexOf(key.subarray(at, at + 16)), -1)
  })

  for (const [what, options] of [
    ['no credential', { keyFiles: [] }],
    ['iterations without a passphrase', { iterations: 1000 }],
    ['a passphrase without iterations', { passphrase: Buffer.from('x') }],
    ['a sector size that is no power of two', { sectorsize: 5000 }],
    ['a sector size below 512', { sectorsize: 256 }],
    ['a provider that has no room', { provsize: 4096 }],
  ] as const)
    test(`refuses ${what}`, async () => {
      await assert.rejects(initMetadata({ ...small, ...options }), knoxError('usage'))
    })

  test('refuses a cipher that could not be read', async () => {
    await assert.rejects(initMetadata({ ...small, ealgo: 3 }), knoxError('platform', /blowfish-cbc/))
    await assert.rejects(
      initMetadata({ ...small, version: 4 }),
      knoxError('platform', /aes-xts 128 in version 4/),
    )
  })
})

describe('geli setkey and delkey', () => {
  const first = { keyFiles: [Buffer.from('first')] }
  const second = { keyFiles: [Buffer.from('second'), Buffer.from('third')] }

  const twoKeys = async () => {
    const metadata = await initMetadata({ provsize: 2 ** 20, sectorsize: 4096, ...first })
    const user = await userKey(metadata, second)
    const keys = openSlots(metadata, await userKey(metadata, first))
    return { before: metadata, keys, both: setKey(metadata, keys, 1, user), user }
  }

  test('the same master keys open by either key, each from its slot, also from the disk', async () => {
    const { keys, both } = await twoKeys()
    const read = parseMetadata(encodeMetadata(both))
    for (const [slot, credentials] of [first, second].entries()) {
      const opened = openSlots(read, await userKey(read, credentials))
      assert.deepEqual(opened, { ...keys, slot })
    }
    assert.equal(both.keys, 3)
  })

  test('the metadata that it was made from is as it was', async () => {
    const { before, both } = await twoKeys()
    assert.equal(before.keys, 1)
    assert.notDeepEqual(before.mkeys, both.mkeys)
    assert.deepEqual(slotOf(before, 0), slotOf(both, 0))
  })

  test('a key with a passphrase beside one without', async () => {
    const { before, keys } = await twoKeys()
    const salted = { ...before, iterations: 3 }
    const words = { ...second, passphrase: Buffer.from('grüße') }
    const both = setKey(salted, keys, 1, await userKey(salted, words))
    assert.equal(openSlots(both, await userKey(both, words)).slot, 1)
    assert.equal(openSlots(both, await userKey(both, first)).slot, 0)
    const without = await userKey(both, second)
    assert.throws(() => openSlots(both, without), knoxError('key-rejected'))
  })

  test('a deleted key opens nothing, the other still does', async () => {
    const { both, user } = await twoKeys()
    const left = deleteKey(both, 1)
    assert.equal(left.keys, 1)
    assert.throws(() => openSlots(left, user), knoxError('key-rejected'))
    assert.notDeepEqual(slotOf(left, 1), slotOf(both, 1))
    assert.equal(openSlots(left, await userKey(left, first)).slot, 0)
    assert.equal(openSlots(deleteKey(both, 0), user).slot, 1)
  })

  test('a slot that is only marked as deleted is not tried', async () => {
    const { both, user } = await twoKeys()
    assert.throws(() => openSlots({ ...both, keys: 1 }, user), knoxError('key-rejected'))
  })

  test('the last key, an empty slot and a third slot are refused', async () => {
    const { before, keys, user } = await twoKeys()
    assert.throws(() => deleteKey(before, 0), knoxError('refused', /last key/))
    assert.throws(() => deleteKey(before, 1), knoxError('usage', /slot 1 holds no key/))
    assert.throws(() => setKey(before, keys, 2, user), knoxError('usage', /slot 2/))
    assert.throws(() => deleteKey({ ...before, keys: 7 }, 2), knoxError('usage', /slot 2/))
  })

  test('with every slot empty, that is what is said', async () => {
    const { before, user } = await twoKeys()
    assert.throws(() => openSlots({ ...before, keys: 0 }, user), knoxError('verification', /no key slot/))
  })
})
