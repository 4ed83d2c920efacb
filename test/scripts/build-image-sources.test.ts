import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { buildWorld, CPUVAR, fails, ok, writeFreebsd } from '../support/build-world.ts'

/** `knox build-image`: what it builds from, and what of an earlier build is still good. */

describe('the sources of an image', () => {
  test('a changed kernel configuration or source line forces the kernel that crochet would skip', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    await appendFile(join(world.work, 'src/sys/arm/conf/RPI-B-ZFS'), 'options INET6\n')
    await rm(join(world.work, 'built'))
    const again = await world.build('--force')
    ok(again)
    assert.match(again.stderr, /RPI-B-ZFS: applied[^]*building the kernel[^]*building the boot loader/)
    assert.match(again.stderr, /the world of the build before is used/)
  })

  test('what somebody changed in the sources is said, and built: a kernel configuration the kernel, all else the world too', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    await appendFile(join(world.work, 'src/sys/arm/conf/RPI-B'), '# mine\n')
    const kernel = await world.build('--force')
    ok(kernel)
    assert.match(
      kernel.stderr,
      /sources of freebsd are not as their revision has them: sys\/arm\/conf\/RPI-B/,
    )
    assert.match(kernel.stderr, /the world of the build before is used[^]*building the kernel/)
    const manifest = await readFile(
      join(world.out, (await world.images()).find((name) => name.endsWith('.json')) ?? ''),
      'utf8',
    )
    assert.match(manifest, /"name": "freebsd: sys\/arm\/conf\/RPI-B",\s+"sha256": "[0-9a-f]{64}"/)
    // it is in osreldate.h of the world
    await appendFile(join(world.work, 'src/sys/conf/newvers.sh'), '# mine\n')
    assert.match((await world.build('--force')).stderr, /building the world[^]*building the kernel/)
    await world.set('u-boot', 'another')
    assert.match((await world.build('--force')).stderr, /the kernel of the build before is used/)
  })

  test('another revision is built anew, by svn and from a folder, and its cut-off checkout is none', async (t) => {
    const world = await buildWorld(t)
    await world.writeYaml({ source: 'https://svn.example/base/releng/10.2' })
    await writeFreebsd(join(world.world, 'svn'))
    ok(await world.build())
    await rm(join(world.dir, 'knox.lock.json'))
    await world.pinCrochet()
    await appendFile(join(world.world, 'svn', 'sys/conf/newvers.sh'), '# an erratum\n')
    await world.set('svn-head', '300000')
    await world.set('svn-breaks')
    fails(await world.build('--force'), 10, /the source cannot be fetched/)
    const again = await world.build('--force')
    ok(again)
    assert.match(again.stderr, /building the world[^]*building the kernel/)
    assert.match(await readFile(join(world.dir, 'knox.lock.json'), 'utf8'), /"revision": "300000"/)
    assert.match(await readFile(join(world.work, 'src/sys/conf/newvers.sh'), 'utf8'), /erratum/)
    await rm(join(world.work, 'src/sys/conf/newvers.sh'))
    assert.match((await world.build('--force')).stderr, /fetching freebsd/)

    await world.writeYaml({ source: 'https://svn.bad.example/releng/10.2' })
    await world.pinCrochet()
    fails(await world.build(), 10, /certificate of the source is not accepted[^]*ca_root_nss/)
    // another address, and then another kind of source, in the place of the old
    await world.writeYaml({ source: 'https://svn.example/mirror' })
    ok(await world.build('--force'))
    const folder = join(world.dir, 'plain')
    await writeFreebsd(folder)
    await world.writeYaml({ source: folder })
    ok(await world.build('--force'))
    assert.ok(!existsSync(join(world.work, 'src/.svn')))
    assert.match((await world.build('--force')).stderr, /is there already, built of just this/)
    await appendFile(join(folder, 'sys/conf/newvers.sh'), '# mine\n')
    const changed = await world.build('--force')
    ok(changed)
    assert.match(changed.stderr, /fetching freebsd[^]*building the world/)
    await world.writeYaml({})
    ok(await world.build('--force'))
    assert.ok(!existsSync(join(world.work, 'src/.knox-copied')))
  })

  test('sources that are not what knox expects are refused, and stay as they are (facts 11.18)', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    const file = join(world.work, 'src', CPUVAR)
    await writeFile(file, 'something else\n')
    fails(await world.build(), 3, /cpuvar\.h is not what knox expects/)
    assert.equal(await readFile(file, 'utf8'), 'something else\n')
  })

  test('what config made of the kernel is looked at: a silent typo is no success', async (t) => {
    const world = await buildWorld(t)
    await world.set('typo')
    fails(await world.build(), 14, /not configured as kernconf\/RPI-B-ZFS says: with INET6/)
    assert.deepEqual(await world.images(), [])
    await rm(join(world.world, 'typo'))
    await rm(join(world.work, 'work/obj'), { recursive: true })
    const again = await world.build()
    ok(again)
    assert.match(again.stderr, /building the kernel/)
  })

  test('a checkout that was cut off is fetched again; a revision that is not there is said', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    await rm(join(world.work, 'src/sys/arm/conf/RPI-B'))
    await writeFile(join(world.work, 'src/.git/index.lock'), '')
    const again = await world.build()
    ok(again)
    assert.match(again.stderr, /fetching freebsd/)
    const lock = (await readFile(join(world.dir, 'knox.lock.json'), 'utf8')).replace(
      /"[0-9a-f]{40}"/,
      `"${'1'.repeat(40)}"`,
    )
    await writeFile(join(world.dir, 'knox.lock.json'), lock)
    fails(await world.build(), 3, /no such revision[^]*knox\.lock\.json/)
    await writeFile(join(world.dir, 'knox.lock.json'), '{}')
    fails(await world.build(), 3, /knox\.lock\.json cannot be read/)
  })

  test('takes the sources by svn, goes on after a broken connection, and pins what it got', async (t) => {
    const world = await buildWorld(t)
    await world.writeYaml({ source: 'https://svn.example/base/releng/10.2' })
    await writeFreebsd(join(world.world, 'svn'))
    await world.set('svn-breaks')
    fails(await world.build(), 10, /the source cannot be fetched[^]*run it again/)
    ok(await world.build())
    assert.match(await readFile(join(world.dir, 'knox.lock.json'), 'utf8'), /"revision": "295681"/)
  })

  test('takes the sources from a folder without git, and leaves that folder as it is', async (t) => {
    const world = await buildWorld(t)
    const folder = join(world.dir, 'plain')
    await writeFreebsd(folder)
    await world.writeYaml({ source: folder })
    ok(await world.build())
    assert.match(await readFile(join(folder, CPUVAR), 'utf8'), /#define\tcpu_id\tcpuid/)
    assert.ok(!existsSync(join(folder, 'sys/arm/conf/RPI-B-ZFS')))
    assert.match((await world.build()).stdout, /nothing was done/)
  })

  test('a tree that knox has not made is refused, and stays, also as its own source', async (t) => {
    const world = await buildWorld(t)
    const mine = join(world.work, 'src')
    await writeFreebsd(mine)
    await writeFile(join(mine, 'precious'), 'mine')
    for (const yaml of [{}, { source: mine }]) {
      await world.writeYaml(yaml)
      fails(await world.build(), 4, /work\/src is no tree of knox[^]*--work DIR[^]*nothing was changed/)
      assert.equal(await readFile(join(mine, 'precious'), 'utf8'), 'mine')
      assert.ok(!existsSync(join(world.work, 'crochet')))
    }
    // a checkout of somebody's is none either
    await mkdir(join(world.work, 'crochet/.git'), { recursive: true })
    fails(await world.build('--yes', '--force'), 4, /work\/src, .*work\/crochet are no trees of knox/)
  })

  test('a source that is the tree itself, lies in it, or above it is refused, and stays', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    await rm(join(world.work, 'src/.git'), { recursive: true })
    for (const source of [join(world.work, 'src'), join(world.work, 'src/sys'), world.work]) {
      await world.writeYaml({ source })
      fails(
        await world.build('--force'),
        4,
        /would lie in one another: .* and .*work\/(?:src|crochet)\n[^]*nothing was changed/,
      )
      assert.ok(existsSync(join(world.work, 'src', CPUVAR)))
    }
  })

  for (const [kind, yaml] of [
    ['.svn', { source: 'https://svn.example/base/releng/10.2' }],
    ['.git', {}],
  ] as const)
    test(`a checkout whose ${kind} was cut off at its beginning is made anew`, async (t) => {
      const world = await buildWorld(t)
      await world.writeYaml(yaml)
      await writeFreebsd(join(world.world, 'svn'))
      await mkdir(join(world.work, 'src', kind), { recursive: true })
      await writeFile(join(world.work, 'src/.knox-tree'), '')
      await writeFile(join(world.work, 'src/half'), '')
      ok(await world.build())
      assert.ok(!existsSync(join(world.work, 'src/half')))
    })
})
