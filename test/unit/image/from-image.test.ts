import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { copyInto, makeFile, unfinished } from '../../../provision/image/copy-image.ts'
import { fromImage, type FromImageOptions } from '../../../provision/image/from-image.ts'
import { openImage } from '../../../provision/image/source.ts'
import { HERE, runnerAt } from '../../../provision/system/runner.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { imageBytes, imageWorld, treeOf, type ImageWorld } from '../../support/image-world.ts'

/** A ready image becomes the box's: checked first, copied, and itself never touched. */

const noXz = spawnSync('xz', ['--version']).error === undefined ? false : 'no xz(1) here'

const sumOf = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

interface Given extends ImageWorld {
  readonly from: string
  readonly work: string
  readonly make: (options?: Partial<FromImageOptions>) => ReturnType<typeof fromImage>
  /** names in the folder of the work file */
  readonly made: () => Promise<readonly string[]>
}

const given = async (t: TestContext, kind: 'crochet' | 'official' = 'official'): Promise<Given> => {
  const one = await imageWorld(t, kind)
  const out = join(one.dir, 'out')
  await mkdir(out)
  const [from, work] = [one.image, join(out, 'work.img')]
  const make = (options: Partial<FromImageOptions> = {}) =>
    fromImage({
      ...{ from, work, folder: one.keys, config: one.config },
      signal: new AbortController().signal,
      emit: (event) => void one.events.push(event),
      ...(options.sha256 === undefined && !('sha256' in options)
        ? { sha256: sumOf(options.from ?? from) }
        : {}),
      ...options,
    })
  return { ...one, from, work, make, made: () => readdir(out) }
}

describe('a ready image', () => {
  test('is copied, and the copy is customised', async (t) => {
    const one = await given(t)
    const { customised, input, bytes } = await one.make()
    assert.equal(customised.release, '13.2-RELEASE')
    assert.deepEqual([input, bytes], [{ name: 'raw image.img', sha256: sumOf(one.from) }, 64 * 1024])
    assert.ok(readFileSync(one.from).equals(imageBytes('official')), 'it was only read')
    assert.ok(!readFileSync(one.work).equals(imageBytes('official')))
    assert.equal(statSync(one.work).mode & 0o7777, 0o600)
    assert.deepEqual(await one.made(), ['work.img'])
    assert.deepEqual(await one.leftovers(), [])
  })

  test('is customised by the next run after one that was killed, which left its copy mounted', async (t) => {
    const one = await given(t)
    await one.make()
    const good = treeOf(one.rootOf(one.work))
    spawnSync('mdconfig', ['-a', '-t', 'vnode', '-f', one.work, '-u', '0'])
    await mkdir(`${one.work}.work/root`, { recursive: true })
    spawnSync('mount', ['-t', 'ufs', '-o', 'rw,noatime', '/dev/md0s2a', `${one.work}.work/root`])
    writeFileSync(`${one.work}.work/unit`, '0\n')
    assert.equal((await one.leftovers()).length, 2)
    await one.make()
    assert.equal(treeOf(one.rootOf(one.work)), good)
    assert.deepEqual(await one.leftovers(), [])
    assert.deepEqual(await one.made(), ['work.img'])
  })

  test('may be packed', { skip: noXz }, async (t) => {
    const one = await given(t)
    spawnSync('xz', ['-k', one.from])
    const before = sumOf(`${one.from}.xz`)
    const { input } = await one.make({ from: `${one.from}.xz` })
    assert.deepEqual(input, { name: 'raw image.img.xz', sha256: before })
    assert.equal(sumOf(`${one.from}.xz`), before)
    assert.equal(statSync(one.work).size, 64 * 1024)
  })

  test('has its checksum given or beside it, in the words of FreeBSD or of coreutils', async (t) => {
    const one = await given(t)
    const from = join(one.dir, 'FreeBSD-13.2-RPI.img')
    renameSync(one.from, from)
    const hex = sumOf(from)
    const beside: Readonly<Record<string, string>> = {
      'CHECKSUM.SHA256-FreeBSD-13.2-RELEASE-arm64-aarch64': `SHA256 (other.img) = ${'0'.repeat(64)}\nSHA256 (FreeBSD-13.2-RPI.img) = ${hex}\n`,
      SHA256SUMS: `${'0'.repeat(64)}  other.img\n${hex} *FreeBSD-13.2-RPI.img\n`,
      'FreeBSD-13.2-RPI.img.sha256': `${hex}\n`,
    }
    for (const [name, text] of Object.entries(beside)) {
      writeFileSync(join(one.dir, name), text)
      const { input } = await one.make({ from, sha256: undefined as never })
      assert.equal(input.sha256, hex, name)
      writeFileSync(join(one.dir, name), text.replaceAll(hex, '1'.repeat(64)))
      await assert.rejects(
        one.make({ from, sha256: undefined as never }),
        knoxError('verification', /is not the image it should be[^]*expected 1111/),
      )
      renameSync(join(one.dir, name), join(one.keys, name))
    }
    assert.deepEqual(
      await one.make({ from, sha256: hex.toUpperCase() }).then(({ input }) => input.sha256),
      hex,
    )
  })
})

describe('no image comes out, and the given one stays as it is', () => {
  /** Runs it, and proves that nothing looks finished and nothing was changed. */
  const refused = async (one: Given, options: Partial<FromImageOptions> = {}): Promise<unknown> => {
    const before = existsSync(options.from ?? one.from) ? sumOf(options.from ?? one.from) : undefined
    const error = await thrownBy(() => one.make(options))
    assert.deepEqual(await one.made(), [])
    assert.deepEqual(await one.leftovers(), [])
    if (before !== undefined) assert.equal(sumOf(options.from ?? one.from), before)
    return error
  }

  test('if the checksum is wrong, missing or none', async (t) => {
    const one = await given(t)
    const said = (options: Partial<FromImageOptions>) => refused(one, options)
    assert.ok(knoxError('verification', /expected 0000/)(await said({ sha256: '0'.repeat(64) })))
    assert.ok(
      knoxError('refused', /nothing says what the SHA-256/)(await said({ sha256: undefined as never })),
    )
    assert.ok(knoxError('usage', /this is no SHA-256/)(await said({ sha256: 'abc' })))
    writeFileSync(`${one.from}.sha256`, '<html>404</html>')
    assert.ok(knoxError('config', /has no SHA-256 of/)(await said({ sha256: undefined as never })))
  })

  test('if it is none, or there is none', async (t) => {
    const one = await given(t)
    const from = join(one.dir, 'page.img')
    writeFileSync(from, '<html>not found</html>'.repeat(100))
    assert.ok(knoxError('config', /no disk image/)(await refused(one, { from })))
    assert.ok(
      knoxError(
        'config',
        /there is no image/,
      )(await refused(one, { from: '/nonesuch', sha256: '0'.repeat(64) })),
    )
    const cut = join(one.dir, 'cut.img')
    writeFileSync(cut, imageBytes('official').subarray(0, 3000))
    assert.ok(knoxError('config', /does not end with a whole sector/)(await refused(one, { from: cut })))
    const nowhere = join(one.dir, 'nowhere/work.img')
    assert.ok(knoxError('config', /there is no folder/)(await thrownBy(() => one.make({ work: nowhere }))))
    assert.ok(knoxError('usage', /made from itself/)(await thrownBy(() => one.make({ work: one.from }))))
  })

  test('if it is a truncated or damaged .xz (facts 11.28)', { skip: noXz }, async (t) => {
    const one = await given(t)
    spawnSync('xz', ['-k', '--block-size=8192', one.from])
    const packed = `${one.from}.xz`
    const whole = readFileSync(packed)
    truncateSync(packed, whole.length - 40)
    assert.ok(knoxError('config', /not a whole \.xz/)(await refused(one, { from: packed })))
    const damaged = Buffer.from(whole)
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 150) ^ 0xff, damaged.length - 150)
    writeFileSync(packed, damaged)
    assert.ok(knoxError('verification', /damaged/)(await refused(one, { from: packed })))
  })

  test('if it cannot be customised: other release, no FAT slice, nothing known of it', async (t) => {
    const one = await given(t)
    const config = { ...one.config, box: { ...one.config.box, release: 'releng/10.2' } }
    assert.ok(knoxError('config', /holds FreeBSD 13\.2-RELEASE/)(await refused(one, { config })))
    const strange = join(one.dir, 'strange.img')
    writeFileSync(strange, imageBytes('linux'))
    assert.ok(knoxError('config', /no partition table/)(await refused(one, { from: strange })))
  })

  test('if the owner stops it', async (t) => {
    const one = await given(t)
    for (const type of ['checking', 'copying', 'writing'] as const) {
      const stop = new AbortController()
      const emit: FromImageOptions['emit'] = (event) => {
        if (event.type === 'step' && event.title.startsWith(type)) stop.abort()
      }
      assert.ok(knoxError('interrupted')(await refused(one, { emit, signal: stop.signal })), type)
    }
  })

  test('on a machine that is no FreeBSD: before anything is read', async (t) => {
    const one = await given(t)
    one.usePath('/usr/bin:/bin')
    assert.ok(knoxError('platform', /on FreeBSD only/)(await refused(one)))
    assert.ok(!one.events.some((event) => event.type === 'step'))
  })
})

describe('a copy of an image', () => {
  const noRoot = process.getuid?.() === 0 ? false : 'only root can mount a small file system to fill'

  test('that finds no room is not begun, or leaves nothing', { skip: noRoot }, async (t) => {
    const one = await given(t)
    const small = join(one.dir, 'small')
    await mkdir(small)
    assert.equal(spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=32k', 'tmpfs', small]).status, 0)
    try {
      const work = join(small, 'work.img')
      await assert.rejects(
        one.make({ work }),
        knoxError('no-space', /needs up to 64\.0 KiB, and there are .* free/),
      )
      const file = makeFile(work, (handle) => handle.writeFile(Buffer.alloc(64 * 1024, 1)))
      await assert.rejects(file, knoxError('no-space', /no room for .*ENOSPC/))
      assert.deepEqual(await readdir(small), [])
    } finally {
      spawnSync('/bin/umount', [small])
    }
  })

  test('has holes where the image has zeros, and is under another name until it is whole', async (t) => {
    const one = await given(t)
    const large = join(one.dir, 'large.img')
    const bytes = Buffer.concat([
      imageBytes('official'),
      Buffer.alloc(9 * 1024 * 1024),
      Buffer.alloc(70_144, 7),
    ])
    writeFileSync(large, bytes)
    const to = join(one.dir, 'out/copy.img')
    writeFileSync(unfinished(to), 'left by a killed run')
    const source = await openImage(
      large,
      runnerAt(HERE, () => undefined),
    )
    const options = { emit: () => undefined, signal: new AbortController().signal, what: 'copied' }
    const copy = await makeFile(to, (file) => copyInto(file, source, options))
    assert.deepEqual(await one.made(), ['.copy.img.part'])
    assert.equal(copy.value, sumOf(large))
    await copy.finish()
    assert.deepEqual(await one.made(), ['copy.img'])
    assert.ok(readFileSync(to).equals(bytes))
    assert.ok(statSync(to).blocks * 512 < 1024 * 1024, 'nine mebibytes are a hole')
  })
})
