import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { cipherName } from '../../../provision/geli/cipher.ts'
import { backupMetadata, findMetadata } from '../../../provision/geli/find-metadata.ts'
import { encodeMetadata, mediaSize, parseMetadata, type Metadata } from '../../../provision/geli/metadata.ts'
import { openProvider } from '../../../provision/geli/provider.ts'
import { knoxError } from '../../support/expect.ts'
import { memoryDevice, resized } from './devices.ts'
import { KEY_FILE, lastSector, metadataOf, naiveRun, type Shape } from './naive.ts'

const SHAPE: Shape = { version: 7, ealgo: 22, keylen: 128, sectorsize: 4096 }
const SIZE = 2 ** 20
const keyFiles = [KEY_FILE]

const imageWith = (metadata: Metadata, blockSize = 512, size = SIZE): Buffer =>
  Buffer.concat([Buffer.alloc(size - blockSize), lastSector(metadata, blockSize)])

/** Metadata as they would be with other fields, with a checksum that fits. */
const changed = async (change: Partial<Metadata>) => ({ ...(await metadataOf(SHAPE, SIZE)), ...change })

const open = (image: Buffer) => openProvider(memoryDevice(image), { keyFiles })

describe('finding metadata', () => {
  for (const blockSize of [512, 1024, 2048, 4096, 8192, 65_536])
    test(`at the start of a last sector of ${blockSize} bytes, also before an odd tail`, async () => {
      const metadata = await metadataOf({ ...SHAPE, sectorsize: Math.max(4096, blockSize) }, SIZE)
      for (const tail of [0, 1, 511]) {
        const image = Buffer.concat([imageWith(metadata, blockSize), Buffer.alloc(tail, 0xff)])
        const found = await findMetadata(memoryDevice(image))
        assert.deepEqual(found, { metadata, offset: SIZE - blockSize, blockSize })
        const room = SIZE - blockSize
        assert.equal((await open(image)).size, room - (room % metadata.sectorsize))
      }
    })

  test('stale metadata at another place does not hide the right ones', async () => {
    const image = imageWith(await metadataOf(SHAPE, SIZE), 4096)
    encodeMetadata(await changed({ provsize: 999_936 })).copy(image, SIZE - 512)
    assert.equal((await findMetadata(memoryDevice(image))).blockSize, 4096)
    image.fill(0, SIZE - 16)
    assert.equal((await findMetadata(memoryDevice(image))).blockSize, 4096, 'nor damaged ones')
  })

  test('of two that are no good, the one of the usual sector size is spoken of', async () => {
    const image = imageWith(await changed({ provsize: 999_936 }), 4096)
    encodeMetadata(await changed({ version: 8 })).copy(image, SIZE - 512)
    await assert.rejects(findMetadata(memoryDevice(image)), knoxError('platform', /version 8/))
  })

  test('none at all has its own sentence, whatever the size of the device', async () => {
    for (const size of [0, 1, 511, 512, 513, 4096, 5000, SIZE])
      await assert.rejects(
        findMetadata(memoryDevice(Buffer.alloc(size))),
        knoxError('verification', /no GELI/),
      )
  })

  test('of a provider of another size names both sizes', async () => {
    for (const other of [SIZE + 512, SIZE - 512, 2 ** 45]) {
      const image = imageWith(await changed({ provsize: other }))
      await assert.rejects(
        findMetadata(memoryDevice(image)),
        knoxError('verification', new RegExp(`of ${other} bytes.* ${SIZE}$`, 'm')),
      )
    }
  })

  test('an image that was cut or that grew is no provider', async () => {
    const image = imageWith(await metadataOf(SHAPE, SIZE))
    for (const size of [SIZE - 512, SIZE + 512, SIZE + 1024])
      await assert.rejects(findMetadata(resized(image, size)), knoxError('verification', /no GELI/))
  })

  test('every single wrong bit of the metadata is noticed', async () => {
    const image = imageWith(await metadataOf(SHAPE, SIZE))
    const start = SIZE - 512
    for (let bit = 0; bit < 511 * 8; bit += 1) {
      const at = start + (bit >> 3)
      const flip = () => image.writeUInt8(image.readUInt8(at) ^ (1 << (bit & 7)), at)
      flip()
      // the version stands before the checksum, and all but its lowest three bits make it one of the future
      const future = bit >= 16 * 8 + 3 && bit < 20 * 8
      await assert.rejects(open(image), knoxError(future ? 'platform' : 'verification'), `bit ${bit}`)
      flip()
    }
    await open(image)
  })
})

describe('a provider that cannot be opened says why', () => {
  const cases: readonly (readonly [string, Partial<Metadata>, Parameters<typeof knoxError>])[] = [
    ['authentication', { flags: 0x10, aalgo: 18 }, ['platform', /authentication/]],
    ['a one-time provider', { flags: 1 }, ['platform', /one-time/]],
    ['Blowfish', { ealgo: 3 }, ['platform', /blowfish-cbc 128/]],
    ['3DES', { ealgo: 2, keylen: 192 }, ['platform', /3des-cbc 192/]],
    ['Camellia', { ealgo: 21 }, ['platform', /camellia-cbc 128/]],
    ['no encryption', { ealgo: 16 }, ['platform', /null 128/]],
    ['a cipher without a name', { ealgo: 99 }, ['platform', /algorithm 99/]],
    ['AES-XTS with 192 bits', { keylen: 192 }, ['platform', /aes-xts 192/]],
    ['AES-XTS before version 5', { version: 4 }, ['platform', /version 4/]],
    ['a version of the future', { version: 8 }, ['platform', /version 8/]],
    ['no key slot', { keys: 0 }, ['verification', /no key slot/]],
    ['a key slot that is not there', { keys: 4 }, ['verification', /no key slot/]],
    ['sectors of 0 bytes', { sectorsize: 0 }, ['verification', /sector size of 0/]],
    ['sectors of 5000 bytes', { sectorsize: 5000 }, ['verification', /sector size of 5000/]],
    ['sectors of 2 GiB', { sectorsize: 2 ** 31 }, ['verification', /sector size of 2147483648/]],
  ]
  for (const [what, change, expected] of cases)
    test(what, async () => {
      await assert.rejects(open(imageWith(await changed(change))), knoxError(...expected))
    })

  test('a wrong key', async () => {
    const image = imageWith(await metadataOf(SHAPE, SIZE))
    const wrong = { keyFiles: [Buffer.from('wrong')] }
    await assert.rejects(openProvider(memoryDevice(image), wrong), knoxError('key-rejected', /opens no slot/))
  })

  test('its ciphers have geli’s names', () => {
    assert.equal(cipherName({ ealgo: 22, keylen: 256 }), 'aes-xts 256')
    assert.equal(cipherName({ ealgo: 11, keylen: 192 }), 'aes-cbc 192')
  })
})

describe('a metadata backup', () => {
  for (const blockSize of [512, 4096])
    test(`of ${blockSize} bytes opens a provider whose own metadata are lost`, async () => {
      const metadata = await metadataOf(SHAPE, SIZE)
      const backup = lastSector(metadata, blockSize)
      const image = imageWith(metadata, blockSize).fill(0, SIZE - blockSize)
      await assert.rejects(open(image), knoxError('verification', /no GELI/))
      const provider = await openProvider(memoryDevice(image), { keyFiles, backup })
      assert.deepEqual(provider.located, { metadata, offset: SIZE - blockSize, blockSize })
      assert.equal(provider.size, mediaSize(metadata, blockSize))
      assert.deepEqual(await provider.read(0, 4096), naiveRun(metadata, 'decrypt', Buffer.alloc(4096), 0))
    })

  test('may be cut to its 511 bytes, not to fewer', async () => {
    const backup = encodeMetadata(await metadataOf(SHAPE, SIZE))
    assert.equal(backupMetadata(backup.subarray(0, 511), memoryDevice(Buffer.alloc(SIZE))).blockSize, 512)
    assert.throws(() => parseMetadata(backup.subarray(0, 510)), knoxError('verification', /510 of 511/))
    assert.throws(() => parseMetadata(backup.subarray(0, 9)), knoxError('verification', /no GELI/))
  })

  test('of another disk is refused', async () => {
    const backup = encodeMetadata(await metadataOf(SHAPE, SIZE))
    const device = memoryDevice(Buffer.alloc(2 * SIZE))
    await assert.rejects(
      openProvider(device, { keyFiles, backup }),
      knoxError('verification', /1048576.*2097152/),
    )
    await assert.rejects(
      openProvider(device, { keyFiles, backup: Buffer.alloc(512) }),
      knoxError('verification'),
    )
  })
})
