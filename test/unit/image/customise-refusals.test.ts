import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { knoxError } from '../../support/expect.ts'
import { imageBytes, imageWorld, type ImageWorld } from '../../support/image-world.ts'
import { AUTHORITY_OF_THE_TUTORIAL } from './tutorial-keys.ts'

/** What knox does not make an image of a box of. */

describe('an image that knox leaves alone', () => {
  const untouched = async (one: ImageWorld): Promise<void> => {
    assert.ok(readFileSync(one.image).equals(imageBytes('crochet')))
    assert.deepEqual(await one.leftovers(), [])
  }

  test('is one that somebody else has attached', async (t) => {
    const one = await imageWorld(t)
    spawnSync('mdconfig', ['-a', '-t', 'vnode', '-f', one.image, '-u', '4'])
    await assert.rejects(
      one.customise(),
      knoxError('busy', /attached as md4, and not by knox[^]*mdconfig -d -u 4/),
    )
    assert.deepEqual(await one.leftovers(), ['md4'])
  })

  test('is one that is not laid out for a Raspberry Pi', async (t) => {
    const one = await imageWorld(t)
    const layouts: readonly (readonly [RegExp, string, string | undefined])[] = [
      [/not an MBR/, 'GPT 128\n1 efi 40 532480\n2 freebsd-ufs 532520 1000\n', undefined],
      [/s1 is not a FAT/, 'MBR 4\n1 freebsd 63 34776\n', undefined],
      [/s2 is not a FreeBSD/, 'MBR 4\n1 !12 63 34776\n2 linux-data 40000 1000\n', undefined],
      [/s2a is not a UFS/, 'MBR 4\n1 !12 63 34776\n2 freebsd 40000 1000\n', 'BSD 8\n2 freebsd-swap 0 99\n'],
      [/no partition table where/, 'MBR 4\n1 !12 63 34776\n2 freebsd 40000 1000\n', ''],
    ]
    for (const [pattern, slices, label] of layouts) {
      writeFileSync(join(one.pristine, 'gpart'), slices)
      if (label === '') rmSync(join(one.pristine, 'gpart.s2'))
      else if (label !== undefined) writeFileSync(join(one.pristine, 'gpart.s2'), label)
      await assert.rejects(one.customise(), knoxError('config', pattern))
      await untouched(one)
      rmSync(join(one.root, '..'), { recursive: true })
    }
  })

  test('is one of another release, or without FreeBSD', async (t) => {
    const one = await imageWorld(t)
    const config = { ...one.config, box: { ...one.config.box, release: 'releng/10.4' } }
    await assert.rejects(
      one.customise({ config }),
      knoxError(
        'config',
        /holds FreeBSD 10\.2-RELEASE-p12, and knox\.yaml says releng\/10\.4[^]*release: releng\/10\.2/,
      ),
    )
    rmSync(join(one.root, 'bin/freebsd-version'))
    await assert.rejects(one.customise(), knoxError('config', /no FreeBSD in the image/))
    assert.ok(existsSync(join(one.root, 'firstboot')))
    assert.deepEqual(await one.leftovers(), [])
  })

  test('is one whose links lead to the build host', async (t) => {
    const one = await imageWorld(t)
    const host = join(one.dir, 'host')
    mkdirSync(host)
    for (const [path, target] of [
      ['etc/ssh', host],
      ['etc/master.passwd', join(host, 'master.passwd')],
      ['boot', host],
    ] as const) {
      for (const name of ['ssh_host_rsa_key', 'master.passwd', 'loader.conf.local'])
        writeFileSync(join(host, name), 'host')
      renameSync(join(one.pristine, 's2a', path), join(one.dir, 'aside'))
      symlinkSync(target, join(one.pristine, 's2a', path))
      await assert.rejects(
        one.customise(),
        knoxError('config', new RegExp(`/${path} is a link in the image`)),
      )
      assert.deepEqual(readdirSync(host).sort(), ['loader.conf.local', 'master.passwd', 'ssh_host_rsa_key'])
      rmSync(join(one.pristine, 's2a', path))
      renameSync(join(one.dir, 'aside'), join(one.pristine, 's2a', path))
      rmSync(join(one.root, '..'), { recursive: true })
    }
  })

  test('is one with a broken file system, or a full one', async (t) => {
    const one = await imageWorld(t)
    writeFileSync(join(one.pristine, 's2a.broken'), 'UNREF FILE')
    await assert.rejects(one.customise(), knoxError('config', /damaged, or there is none/))
    await untouched(one)
    rmSync(join(one.root, '..'), { recursive: true })
    rmSync(join(one.pristine, 's2a.broken'))
    writeFileSync(join(one.world, 'full'), '')
    await assert.rejects(one.customise(), knoxError('no-space', /root file system of the image is full/))
    assert.deepEqual(await one.leftovers(), [])
  })

  test('is any, if the keys or knox.yaml do not do', async (t) => {
    const one = await imageWorld(t)
    const laptop = { ...one.config, box: { ...one.config.box, board: 'laptop' as const } }
    await assert.rejects(
      one.customise({ config: laptop }),
      knoxError('config', /no image for the board laptop/),
    )
    await assert.rejects(
      one.customise({ image: '/nonesuch.img' }),
      knoxError('config', /no image \/nonesuch/),
    )
    writeFileSync(join(one.keys, 'knox-ca.pub'), `${AUTHORITY_OF_THE_TUTORIAL} mine\n`)
    await assert.rejects(one.customise(), knoxError('config', /holds the authority of the tutorial’s image/))
    rmSync(join(one.keys, 'knox-ca.pub'))
    await assert.rejects(one.customise(), knoxError('config', /key folder lacks knox-ca\.pub/))
    assert.ok(
      !existsSync(join(one.world, 'log')) || !readFileSync(join(one.world, 'log'), 'utf8').includes('-a -t'),
    )
    await untouched(one)
  })

  test('is any, on a machine that is no FreeBSD', async (t) => {
    const one = await imageWorld(t)
    one.usePath('/usr/bin:/bin')
    await assert.rejects(one.customise(), knoxError('platform', /is not installed|FreeBSD/))
  })

  test('is one that two work on at the same time: the second is told', async (t) => {
    const one = await imageWorld(t)
    const [first, second] = await Promise.allSettled([one.customise(), one.customise()])
    const failed = [first, second].filter(({ status }) => status === 'rejected')
    assert.equal(failed.length, 1)
    assert.ok(failed[0]?.status === 'rejected' && knoxError('busy', /another knox/)(failed[0].reason))
    assert.deepEqual(await one.leftovers(), [])
  })
})
