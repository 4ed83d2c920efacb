import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { checksumFor, hashFile, readChecksum } from '../../../provision/image/checksum.ts'
import { CHUNK, inChunks, isZero, placesOn, splitZeros, TAIL } from '../../../provision/image/chunks.ts'
import { openImage } from '../../../provision/image/source.ts'
import { run } from '../../../provision/system/process.ts'
import { HERE, runnerAt } from '../../../provision/system/runner.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'

const here = runnerAt(HERE, () => undefined)

const gather = async <T>(items: AsyncIterable<T>): Promise<readonly T[]> => {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** Chunks as they were when they came: each is good until its buffer is needed again. */
const copied = async (chunks: AsyncIterable<Buffer>): Promise<readonly Buffer[]> => {
  const all: Buffer[] = []
  for await (const chunk of chunks) all.push(Buffer.from(chunk))
  return all
}

const lent = (size: number): readonly Buffer[] => [Buffer.alloc(size), Buffer.alloc(size)]

const anImage = (bytes: number): Buffer => {
  const data = randomBytes(bytes)
  data.writeUInt16LE(0xaa55, 510)
  return data
}

const pack = async (path: string): Promise<string> => {
  assert.equal((await run(['xz', '-k', '-0', '--block-size=1MiB', path])).exitCode, 0)
  return `${path}.xz`
}

const imageIn = async (t: TestContext, bytes: number) => {
  const dir = await tempFolder(t)
  const [path, data] = [join(dir, 'knox.img'), anImage(bytes)]
  await writeFile(path, data)
  return { dir, path, data }
}

describe('an image', () => {
  test('plain or packed is the same bytes in chunks of 4 MiB', async (t) => {
    const { path, data } = await imageIn(t, 2 * CHUNK + 12_345)
    for (const one of [path, await pack(path)]) {
      const image = await openImage(one, here)
      assert.equal(image.bytes, data.length)
      for (const chunks of [
        await copied(image.chunks(lent(CHUNK))),
        await copied(image.chunks(lent(CHUNK))),
      ]) {
        assert.deepEqual(
          chunks.map((chunk) => chunk.length),
          [CHUNK, CHUNK, 12_345],
        )
        assert.ok(Buffer.concat(chunks).equals(data))
      }
    }
  })

  test('that is packed is known by its content, not its name', async (t) => {
    const { dir, path, data } = await imageIn(t, 100_000)
    const other = join(dir, '-a strange name')
    await writeFile(other, await readFile(await pack(path)))
    assert.equal((await openImage(other, here)).bytes, data.length)
  })

  test('that is none is refused before anything else', async (t) => {
    const { dir, path } = await imageIn(t, 100_000)
    const made = async (name: string, content: Buffer | string) => {
      await writeFile(join(dir, name), content)
      return join(dir, name)
    }
    await mkdir(join(dir, 'folder'))
    const packedText = await pack(await made('text', 'x'.repeat(5000)))
    const cases: readonly (readonly [string, RegExp])[] = [
      [join(dir, 'nonesuch.img'), /there is no image/],
      [join(dir, 'folder'), /is not a file/],
      [await made('empty.img', ''), /is empty/],
      [await made('short.img', 'x'), /no disk image/],
      [await made('page.html', `<html>${'not found '.repeat(100)}`), /no disk image/],
      [packedText, /no disk image/],
      [await made('a.img.gz', Buffer.from([0x1f, 0x8b, 8, 0])), /packed with gzip[^]*gunzip/],
      [await made('a.zip', 'PK\u0003\u0004 and more'), /packed with zip/],
    ]
    for (const [one, pattern] of cases)
      assert.ok(knoxError('config', pattern)(await thrownBy(() => openImage(one, here))), one)
    assert.equal((await readFile(path)).length, 100_000)
  })

  test('packed and cut off anywhere is refused, and stays as it is', async (t) => {
    const { path } = await imageIn(t, 3 * CHUNK)
    const packed = await pack(path)
    const { length } = await readFile(packed)
    for (const left of [length - 1, length - 12, Math.floor(length / 2), 40, 12, 7]) {
      await truncate(packed, left)
      assert.ok(knoxError('config', /not a whole \.xz file/)(await thrownBy(() => openImage(packed, here))))
      assert.equal((await readFile(packed)).length, left)
    }
  })

  test('packed and damaged inside is an error when its bytes are wanted', async (t) => {
    const { path } = await imageIn(t, 3 * CHUNK)
    const packed = await pack(path)
    const data = await readFile(packed)
    data.fill(0, data.length / 2, data.length / 2 + 100)
    await writeFile(packed, data)
    const image = await openImage(packed, here)
    const error = await thrownBy(() => gather(image.chunks(lent(CHUNK))))
    assert.ok(
      knoxError(
        'verification',
        /image is damaged: xz gave up after \d+ bytes[^]*it said: xz: .*corrupt/,
      )(error),
    )
  })

  test('that is cut off after it was opened ends too early', async (t) => {
    const { path } = await imageIn(t, 2 * CHUNK)
    const image = await openImage(path, here)
    await truncate(path, CHUNK + 1000)
    assert.ok(
      knoxError(
        'verification',
        new RegExp(`ends at byte ${CHUNK + 1000}`),
      )(await thrownBy(() => gather(image.chunks(lent(CHUNK))))),
    )
  })
})

describe('a checksum file', () => {
  const hex = createHash('sha256').update('a').digest('hex')
  const other = createHash('sha256').update('b').digest('hex')

  test('is read in the forms of sha256sum and sha256, for the name that is wanted', () => {
    for (const text of [
      `${hex}  knox.img\n`,
      `${hex} *knox.img`,
      `${hex.toUpperCase()}  knox.img\r\n`,
      `${hex}  ./out/knox.img\n`,
      `SHA256 (knox.img) = ${hex}\n`,
      `${hex}\n`,
      `${other}  other.img\n${hex}  knox.img\n`,
      `SHA256 (other.img) = ${other}\nSHA256 (knox.img) = ${hex}\n`,
    ])
      assert.equal(checksumFor(text, 'knox.img'), hex, text)
  })

  test('that speaks of another file, or of nothing, does not speak of this one', () => {
    for (const text of [
      '',
      'Not Found',
      `${hex}  other.img\n`,
      `SHA256 (other.img) = ${hex}\n`,
      `${hex.slice(1)}  knox.img`,
      `${hex}\n${other}\n`,
      `MD5 (knox.img) = ${hex}`,
    ])
      assert.equal(checksumFor(text, 'knox.img'), undefined, text)
  })

  test('beside the image is looked for; one that is useless is an error', async (t) => {
    const { path, data } = await imageIn(t, 3_000_000)
    const wanted = createHash('sha256').update(data).digest('hex')
    assert.equal(await readChecksum(path), undefined)
    await writeFile(`${path}.sha256`, `${wanted}  knox.img\n`)
    assert.equal(await readChecksum(path), wanted)
    const seen: (readonly [number, number])[] = []
    const { signal } = new AbortController()
    assert.equal(await hashFile(path, signal, (bytes, of) => seen.push([bytes, of])), wanted)
    assert.deepEqual(seen.at(-1), [data.length, data.length])
    await writeFile(`${path}.sha256`, 'oops\n')
    assert.ok(knoxError('config', /has no SHA-256 of knox\.img/)(await thrownBy(() => readChecksum(path))))
  })
})

describe('chunks', () => {
  const pieces = fc.array(
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    { maxLength: 20 },
  )
  // eslint-disable-next-line @typescript-eslint/require-await -- as a stream would
  async function* each(all: readonly Buffer[]) {
    yield* all
  }

  test('are the same bytes, each as long as it has to be', async () => {
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1, max: 50 }), async (all, size) => {
        const chunks = await copied(inChunks(each(all), lent(size)))
        assert.ok(Buffer.concat(chunks).equals(Buffer.concat(all)))
        assert.ok(chunks.slice(0, -1).every(({ length }) => length === size))
        assert.ok(chunks.every(({ length }) => length > 0 && length <= size))
      }),
    )
  })

  test('are split into data and zeros that cover them, in blocks, without neighbours of one kind', () => {
    const sparse = fc.array(fc.constantFrom(0, 0, 0, 0, 1), { minLength: 1, maxLength: 100 })
    fc.assert(
      fc.property(sparse, fc.integer({ min: 1, max: 9 }), (bytes, block) => {
        const data = Buffer.from(bytes)
        const parts = splitZeros(data, block)
        const all = [...parts.data, ...parts.zeros].sort((a, b) => a.from - b.from)
        assert.deepEqual(
          all.map(({ from }) => from),
          [0, ...all.slice(0, -1).map(({ to }) => to)],
        )
        assert.equal(all.at(-1)?.to, data.length)
        for (const { from, to } of parts.zeros) assert.ok(isZero(data.subarray(from, to)))
        for (const { from, to } of parts.data)
          for (let at = from; at < to; at += block)
            assert.ok(!isZero(data.subarray(at, Math.min(at + block, to))))
        for (const list of [parts.data, parts.zeros])
          for (const [index, { to }] of list.entries()) assert.ok(to < (list[index + 1]?.from ?? Infinity))
      }),
    )
  })

  test('belong one after another, filled up to a sector; the end of the drive is zeros', async () => {
    const data = [Buffer.alloc(1024, 1), Buffer.alloc(700, 2)]
    const size = 3 * TAIL
    const spare = { last: Buffer.alloc(1024, 9), zeros: Buffer.alloc(TAIL) }
    const places = await gather(placesOn({ size, sectorBytes: 512 }, each(data), spare))
    assert.deepEqual(
      places.map((place) => [place.offset, place.data.length]),
      [
        [0, 1024],
        [1024, 1024],
        [size - TAIL, TAIL],
      ],
    )
    assert.ok(places[1]?.data.subarray(0, 700).equals(Buffer.alloc(700, 2)))
    assert.ok(isZero(places[1]?.data.subarray(700) ?? Buffer.of(1)))
    const exact = await gather(placesOn({ size: 2048, sectorBytes: 512 }, each(data), spare))
    assert.deepEqual(exact.length, 2)
    const nearly = await gather(placesOn({ size: 2048 + 512, sectorBytes: 512 }, each(data), spare))
    assert.deepEqual([nearly[2]?.offset, nearly[2]?.data.length], [2048, 512])
  })
})
