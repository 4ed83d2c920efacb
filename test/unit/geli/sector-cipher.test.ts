import assert from 'node:assert/strict'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { sectorCipher } from '../../../provision/geli/sector-cipher.ts'
import { xtsTransforms } from '../../../provision/geli/xts.ts'
import { KEYS, metadataOf, naiveRun, SHAPES } from './naive.ts'

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((a) => Buffer.from(a))

describe('AES-XTS over runs, against node’s own', () => {
  for (const keyBytes of [32, 64])
    test(`aes-${keyBytes * 4}-xts: any key, offset, sector size and number of sectors`, () => {
      const xts = `aes-${keyBytes * 4}-xts`
      fc.assert(
        fc.property(
          // node refuses two equal halves
          bytes(keyBytes).filter((key) => !key.subarray(0, keyBytes / 2).equals(key.subarray(keyBytes / 2))),
          fc.constantFrom(512, 1024, 4096, 8192, 131_072),
          fc.integer({ min: 1, max: 300 }),
          fc.oneof(fc.nat({ max: 1000 }), fc.nat({ max: 2 ** 31 }), fc.constantFrom(2 ** 23, 2 ** 35)),
          bytes(61),
          (key, sectorSize, wanted, sectorNumber, seed) => {
            const sectors = Math.min(wanted, 2 ** 20 / sectorSize)
            const plain = Buffer.alloc(sectors * sectorSize, seed)
            const offset = sectorNumber * sectorSize
            const ours = xtsTransforms(key, sectorSize)
            const sealed = Buffer.alloc(plain.length)
            ours.encrypt(plain, sealed, offset)
            for (let at = 0; at < plain.length; at += sectorSize) {
              const iv = Buffer.alloc(16)
              iv.writeBigUInt64LE(BigInt(offset + at))
              const theirs = createCipheriv(xts, key, iv).update(plain.subarray(at, at + sectorSize))
              assert.ok(theirs.equals(sealed.subarray(at, at + sectorSize)), `sector at ${at}`)
              const back = createDecipheriv(xts, key, iv).update(sealed.subarray(at, at + sectorSize))
              assert.ok(back.equals(plain.subarray(at, at + sectorSize)))
            }
            ours.decrypt(sealed, sealed, offset)
            assert.ok(sealed.equals(plain), 'in place')
          },
        ),
        { numRuns: 150 },
      )
    })
})

describe('the cipher of sectors', () => {
  for (const shape of SHAPES)
    test(`version ${shape.version}, cipher ${shape.ealgo}, ${shape.keylen} bits: from any place of memory to any`, async () => {
      const metadata = await metadataOf({ ...shape, sectorsize: 1024 }, 2 ** 24)
      const cipher = sectorCipher(metadata, KEYS)
      const plain = Buffer.alloc(150 * 1024, 'sixteen bytes and a few')
      for (const shift of [0, 1, 5, 8]) {
        const source = Buffer.concat([Buffer.alloc(shift), plain]).subarray(shift)
        const target = Buffer.alloc(plain.length + 2 * shift + 1, 0x77)
        cipher.encrypt(source, target.subarray(shift), 3 * 1024)
        const sealed = naiveRun(metadata, 'encrypt', plain, 3 * 1024)
        assert.ok(target.subarray(shift, shift + plain.length).equals(sealed))
        assert.ok(
          target.subarray(shift + plain.length).every((byte) => byte === 0x77),
          'not beyond',
        )
        cipher.decrypt(sealed, source, 3 * 1024)
        assert.ok(source.equals(plain))
        cipher.encrypt(source, source, 3 * 1024)
        assert.ok(source.equals(sealed), 'in place')
      }
    })

  test('takes whole sectors only, into enough room', async () => {
    const metadata = await metadataOf({ version: 7, ealgo: 22, keylen: 128, sectorsize: 1024 }, 2 ** 24)
    const { decrypt } = sectorCipher(metadata, KEYS)
    const room = Buffer.alloc(2048)
    for (const [source, target, offset] of [
      [room.subarray(0, 1023), room, 0],
      [room, room, 512],
      [room, room, -1],
      [room, room.subarray(0, 1024), 0],
    ] as const)
      assert.throws(() => decrypt(source, target, offset), RangeError)
    decrypt(room.subarray(0, 0), room, 0)
  })
})
