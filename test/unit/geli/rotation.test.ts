import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { openProvider } from '../../../provision/geli/provider.ts'
import { sparseDevice } from './devices.ts'
import { KEY_FILE, lastSector, metadataOf, naive, naiveRun, type Shape } from './naive.ts'

/** Sectors far out, where keys change and offsets need more than 32 bits. The disks are sparse, in memory. */

const MiB = 2 ** 20
const TiB = 2 ** 40

const disk = async (shape: Shape, size: number) => {
  const device = sparseDevice(size)
  const metadata = await metadataOf(shape, size)
  await device.write(size - 512, lastSector(metadata, 512))
  const provider = await openProvider(device, { keyFiles: [KEY_FILE], writable: true })
  return { device, metadata, provider, write: provider.write! }
}

const CIPHERS = [
  { version: 7, ealgo: 22, keylen: 128 },
  { version: 7, ealgo: 22, keylen: 256 },
  { version: 6, ealgo: 22, keylen: 128 },
  { version: 5, ealgo: 11, keylen: 192 },
  { version: 7, ealgo: 11, keylen: 256 },
  { version: 4, ealgo: 11, keylen: 128 },
]

for (const cipher of CIPHERS)
  for (const sectorsize of [512, 4096]) {
    const span = MiB * sectorsize
    const name = `version ${cipher.version}, cipher ${cipher.ealgo}, ${cipher.keylen} bits, sectors of ${sectorsize}`

    describe(`far out: ${name}`, () => {
      test('a read over the place where the key changes', async () => {
        const { metadata, provider } = await disk({ ...cipher, sectorsize }, 3 * span + MiB)
        for (const border of [span, 2 * span]) {
          const from = border - 3 * sectorsize
          const plain = naiveRun(metadata, 'decrypt', Buffer.alloc(6 * sectorsize), from)
          assert.deepEqual(await provider.read(from, plain.length), plain)
          assert.deepEqual(await provider.read(from + 7, plain.length - 9), plain.subarray(7, -2))
        }
      })

      test('a write over it, unaligned, is there and leaves its neighbours', async () => {
        const { device, metadata, provider, write } = await disk({ ...cipher, sectorsize }, 2 * span)
        const from = span - 2 * sectorsize
        const plain = await provider.read(from, 4 * sectorsize)
        const data = Buffer.alloc(2 * sectorsize, 'over the border ')
        await write(span - sectorsize - 5, data)
        data.copy(plain, sectorsize - 5)
        assert.deepEqual(await provider.read(from, plain.length), plain)
        const sealed = await device.read(from, plain.length)
        assert.deepEqual(sealed, naiveRun(metadata, 'encrypt', plain, from))
      })

      test('offsets above 2^32 and 2^40, and the last sector of a disk of 9 TiB', async () => {
        const { metadata, provider } = await disk({ ...cipher, sectorsize }, 9 * TiB)
        const last = provider.size - sectorsize
        for (const offset of [2 ** 32 - sectorsize, 2 ** 32, 5 * 2 ** 32, TiB, 8 * TiB + sectorsize, last]) {
          const zeros = Buffer.alloc(sectorsize)
          assert.deepEqual(
            await provider.read(offset, sectorsize),
            naive(metadata, 'decrypt', zeros, offset),
            `at ${offset}`,
          )
        }
      })
    })
  }

test('many keys in turn: those that were put away come back right', async () => {
  const { metadata, provider } = await disk(
    { version: 7, ealgo: 22, keylen: 128, sectorsize: 512 },
    40 * 512 * MiB,
  )
  for (let round = 0; round < 3; round += 1)
    for (let keyno = 0; keyno < 39; keyno += 1) {
      const offset = keyno * 512 * MiB + round * 512
      const plain = naive(metadata, 'decrypt', Buffer.alloc(512), offset)
      assert.deepEqual(await provider.read(offset, 512), plain)
    }
})
