import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findMetadata } from '../../../provision/geli/find-metadata.ts'
import { openSlots } from '../../../provision/geli/master-key.ts'
import { encodeMetadata, mediaSize, METADATA_BYTES } from '../../../provision/geli/metadata.ts'
import { openProvider } from '../../../provision/geli/provider.ts'
import { sectorCipher } from '../../../provision/geli/sector-cipher.ts'
import { keySpan, sectorKey } from '../../../provision/geli/sector-key.ts'
import { userKey } from '../../../provision/geli/user-key.ts'
import { knoxError } from '../../support/expect.ts'
import { memoryDevice } from './devices.ts'
import { credentialsOf, deviceOf, imageOf, plaintextOf, sha256, vectors, type Vector } from './vectors.ts'

const AUTH = 0x10
const damaged = vectors.filter((vector) => vector.damage !== undefined)
const unsupported = vectors.filter(
  ({ damage, metadata }) =>
    damage === undefined && ((metadata.flags & AUTH) !== 0 || ![11, 22].includes(metadata.ealgo)),
)
const sound = vectors.filter((vector) => !damaged.includes(vector) && !unsupported.includes(vector))

/** Parts of the decrypted provider whose content the manifest knows: all of it, or a sparse one's extents. */
const knownParts = (vector: Vector) =>
  vector.extents ?? [
    {
      offset: 0,
      length: vector.eli.mediasize,
      plaintext_sha256: vector.eli.plaintext_sha256,
      ciphertext_sha256: undefined,
      keyno: undefined,
    },
  ]

const opened = async (vector: Vector) => {
  const device = await deviceOf(vector)
  const { metadata } = await findMetadata(device)
  const user = vector.keys.users[0]!
  return { device, metadata, keys: openSlots(metadata, await userKey(metadata, credentialsOf(vector, user))) }
}

for (const vector of sound)
  describe(`FreeBSD's vector ${vector.name}`, () => {
    test('metadata: every field, where it stands, the size it gives', async () => {
      const device = await deviceOf(vector)
      const { metadata, offset, blockSize } = await findMetadata(device)
      const { salt, mkeys, ...fields } = metadata
      const { offset: expectedOffset, md5, salt: expectedSalt, ...expected } = vector.metadata
      assert.deepEqual(fields, expected)
      assert.equal(salt.toString('hex'), expectedSalt)
      assert.equal(mkeys.length, 384)
      assert.equal(offset, expectedOffset)
      assert.equal(blockSize, vector.provider.sectorsize)
      assert.equal(mediaSize(metadata, blockSize), vector.eli.mediasize)
      const sector = await device.read(offset, METADATA_BYTES)
      const end = metadata.version === 0 ? 493 : 495
      assert.equal(sector.toString('hex', end, end + 16), md5)
      assert.deepEqual(encodeMetadata(metadata, 512).subarray(0, end + 16), sector.subarray(0, end + 16))
    })

    for (const user of vector.keys.users)
      test(`keys: by ${user.uses} for slot ${user.slot}`, async () => {
        const { metadata } = await findMetadata(await deviceOf(vector))
        const found = await userKey(metadata, credentialsOf(vector, user))
        assert.equal(found.toString('hex'), user.user_key)
        const { ivKey, dataKey, slot } = openSlots(metadata, found)
        assert.equal(slot, user.slot)
        assert.equal(ivKey.toString('hex'), vector.keys.iv_key)
        assert.equal(dataKey.toString('hex'), vector.keys.data_key)
      })

    test('sector keys, and where they change', async () => {
      const { metadata, keys } = await opened(vector)
      const { version, sectorsize } = metadata
      const span = keySpan(version, sectorsize)
      const lastSector = vector.eli.mediasize - sectorsize
      const at = (offset: number) => sectorKey(version, keys, Math.floor(offset / span)).toString('hex')
      assert.equal(at(0), vector.keys.sector_key_at_offset_0)
      assert.equal(at(lastSector), vector.keys.sector_key_at_last_sector)
      if (version >= 5) assert.equal(Math.floor(lastSector / span) + 1, vector.keys.ekeys_total)
      for (const { offset, keyno } of vector.extents ?? [])
        for (const [sector, number] of keyno.entries())
          assert.equal(Math.floor((offset + sector * sectorsize) / span), number)
    })

    for (const user of vector.keys.users)
      test(`content: read by ${user.uses} for slot ${user.slot}`, async () => {
        const device = await deviceOf(vector)
        const provider = await openProvider(device, credentialsOf(vector, user))
        assert.equal(provider.size, vector.eli.mediasize)
        assert.equal(provider.slot, user.slot)
        for (const { offset, length, plaintext_sha256 } of knownParts(vector)) {
          const plain = await provider.read(offset, length)
          assert.deepEqual(plain, plaintextOf(vector, offset, length))
          assert.equal(sha256(plain), plaintext_sha256)
        }
        provider.close()
      })

    test('content: encrypted again it is what FreeBSD wrote', async () => {
      const { device, metadata, keys } = await opened(vector)
      const cipher = sectorCipher(metadata, keys)
      for (const { offset, length, ciphertext_sha256 } of knownParts(vector)) {
        const sealed = Buffer.alloc(length)
        cipher.encrypt(plaintextOf(vector, offset, length), sealed, offset)
        assert.deepEqual(sealed, await device.read(offset, length))
        if (ciphertext_sha256 !== undefined) assert.equal(sha256(sealed), ciphertext_sha256)
      }
    })

    test('another key opens nothing', async () => {
      const device = await deviceOf(vector)
      const credentials = credentialsOf(vector, vector.keys.users[0]!)
      for (const [index, file] of (credentials.keyFiles ?? []).entries()) {
        const other = Buffer.from(file)
        other.writeUInt8(other.readUInt8(0) ^ 1, 0)
        const keyFiles = (credentials.keyFiles ?? []).with(index, other)
        await assert.rejects(openProvider(device, { ...credentials, keyFiles }), knoxError('key-rejected'))
      }
      if (credentials.passphrase !== undefined) {
        const passphrase = Buffer.concat([credentials.passphrase, Buffer.from('!')])
        await assert.rejects(openProvider(device, { ...credentials, passphrase }), knoxError('key-rejected'))
      }
    })
  })

for (const vector of damaged)
  describe(`FreeBSD's vector ${vector.name}`, () => {
    const credentials = credentialsOf(vector, vector.keys.users[0]!)

    test(`is refused: ${vector.damage!.expect}`, async () => {
      await assert.rejects(openProvider(await deviceOf(vector), credentials), knoxError('verification'))
    })

    test('opens once the damage is undone', async () => {
      const image = imageOf(vector)!
      const { offset, xor } = vector.damage!
      image.writeUInt8(image.readUInt8(offset) ^ xor, offset)
      const provider = await openProvider(memoryDevice(image), credentials)
      const plain = await provider.read(0, provider.size)
      assert.deepEqual(plain, plaintextOf(vector, 0, vector.eli.mediasize))
    })
  })

for (const vector of unsupported)
  test(`FreeBSD's vector ${vector.name} is refused as not supported`, async () => {
    const credentials = credentialsOf(vector, vector.keys.users[0]!)
    await assert.rejects(openProvider(await deviceOf(vector), credentials), knoxError('platform'))
  })

test('the manifest has vectors of both kinds', () => {
  assert.ok(sound.length >= 5 && damaged.length >= 1)
})
