import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { tempFolder } from '../support/expect.ts'
import { buildWorld, fails, nothingLeft, ok } from '../support/build-world.ts'

/** `knox build-image` on a build host of strict stand-ins (test/freebsd): crochet, svn, the disk programs. */

describe('build-image', () => {
  test('builds, customises and checks an image; a rerun with nothing changed does nothing', async (t) => {
    const world = await buildWorld(t)
    const made = await world.build('--json')
    ok(made)
    await nothingLeft(world)
    const files = await world.images()
    const [image = ''] = files
    assert.match(image, /^knox-knox-10\.2-\d{4}-\d\d-\d\d\.img$/)
    assert.deepEqual(files, [image, `${image}.sha256`, image.replace('.img', '.json')])
    assert.equal((await stat(join(world.out, image))).mode & 0o777, 0o600)
    const partitions = await readFile(join(world.world, 'partitions'), 'utf8')
    assert.equal(partitions, 'mbr 3900mb\nfat 17m 16\nufs 3000m\ngpart add -t freebsd md9\n')
    const manifest = JSON.parse(await readFile(join(world.out, image.replace('.img', '.json')), 'utf8')) as {
      revisions: Record<string, string>
    }
    assert.deepEqual(Object.keys(manifest.revisions), ['freebsd', 'crochet'])

    // a dry run, anywhere, prints what that run did, in the same order
    const bare = spawnSync(
      process.execPath,
      [
        resolve('scripts/knox.mjs'),
        'build-image',
        '--dry-run',
        '--json',
        '--work',
        world.work,
        '--out',
        world.out,
        '--config',
        join(world.dir, 'knox.yaml'),
      ],
      { encoding: 'utf8', env: { ...process.env, PATH: '/usr/bin:/bin' } },
    )
    assert.equal(bare.status, 0, bare.stderr)
    const printed = (JSON.parse(bare.stdout) as { commands: string[] }).commands
    const { quoteAll } = await import('../../provision/core/quote.ts')
    const ran = made.stderr
      .split('\n')
      .filter((line) => line.includes('"type":"command"'))
      .map((line) => quoteAll((JSON.parse(line) as { argv: string[] }).argv))
    let at = 0
    for (const command of ran) if (command === printed[at]) at += 1
    assert.equal(printed[at], undefined, 'the first command that was printed and not run')
    assert.deepEqual(
      ran.filter((command) => !printed.includes(command)),
      [],
    )
    assert.ok(!existsSync(join(world.work, 'knox.img')), 'a copy with the host key in it')

    const again = await world.build()
    ok(again)
    assert.match(again.stdout, /was made of just this already; nothing was done/)
    for (const what of ['cpuvar.h', 'RPI-B-ZFS', 'config.sh'])
      assert.match(again.stderr, new RegExp(`${what}: already applied`))
    assert.equal(await world.crochets(), 1)
    await nothingLeft(world)
  })

  test('a manifest without its image, as a killed run can leave it, is no image', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    const [image = ''] = await world.images()
    await rm(join(world.out, image))
    const again = await world.build()
    ok(again)
    assert.ok(!again.stdout.includes('nothing was done'))
    assert.ok(existsSync(join(world.out, image)))
    assert.equal(await world.crochets(), 1)
    await truncate(join(world.out, image), 10)
    ok(await world.build())
    assert.equal((await stat(join(world.out, image))).size, 64 * 1024)
  })

  test('what cannot end well is said before the hours of building', async (t) => {
    const world = await buildWorld(t)
    await mkdir(world.out)
    const today = new Date().toISOString().slice(0, 10)
    await writeFile(join(world.out, `knox-knox-10.2-${today}.img`), 'of the same day')
    fails(await world.build(), 4, /exists already/)
    const yaml = join(world.dir, 'knox.yaml')
    await writeFile(yaml, (await readFile(yaml, 'utf8')).replace('box:\n', 'box:\n  root: mmcsd0s3a\n'))
    fails(await world.build('--force'), 3, /the root of an image is s2a/)
    assert.equal(await world.crochets(), 0)
  })

  test('says everything that the host lacks at once, with what mends it', async (t) => {
    const world = await buildWorld(t)
    await rm(join(world.world, 'u-boot'))
    await world.set('uid', '1001')
    await world.writeYaml({ source: 'https://svn.example/base/releng/10.2' })
    await world.set('room', '1000')
    const { code, stderr } = await world.build()
    assert.equal(code, 15)
    for (const line of [
      /must run as root/,
      /u-boot\.img is missing: today’s package/,
      /room for 0\.98 MiB only, and 17\.9 GiB are needed/,
    ])
      assert.match(stderr, line)
    assert.ok(!existsSync(world.work))
    assert.equal(existsSync(join(world.world, 'log')) ? await world.crochets() : 0, 0)
  })

  test('on another system ends with 15 and says what to do, nothing half done', async (t) => {
    const world = await buildWorld(t)
    // without keys too: they are of no use here
    await rm(world.keys, { recursive: true })
    const bare = spawnSync(
      process.execPath,
      [resolve('scripts/knox.mjs'), 'build-image', '--work', world.work],
      {
        cwd: world.dir,
        encoding: 'utf8',
        env: { ...process.env, PATH: '/usr/bin:/bin' },
      },
    )
    assert.equal(bare.status, 15, bare.stderr)
    assert.match(bare.stderr, /an image is built on FreeBSD[^]*image\.builder: root@host/)
    assert.ok(!existsSync(world.work))
  })

  test('a work folder below a link is worked on by its real name, so that what is left is found', async (t) => {
    const world = await buildWorld(t)
    await mkdir(join(world.dir, 'usr-home'))
    await symlink(join(world.dir, 'usr-home'), join(world.dir, 'home'))
    await world.set('fail', 'image')
    const work = join(world.dir, 'home', 'build')
    fails(await world.build('--work', work), 1, /No space left on device/)
    await nothingLeft(world)
    ok(await world.build('--work', work))
    assert.ok(existsSync(join(world.dir, 'usr-home/build/freebsd.img')))
  })

  test('a ready image is customised with its checksum checked first', async (t) => {
    const world = await buildWorld(t)
    const sum = spawnSync('sha256sum', [world.image], { encoding: 'utf8' }).stdout.split(' ')[0] ?? ''
    fails(await world.build('--from', world.image), 4, /nothing says what the SHA-256/)
    fails(
      await world.build(
        '--from',
        world.image,
        '--sha256',
        sum.replace(/^./, (c) => (c === '0' ? '1' : '0')),
      ),
      14,
      /./,
    )
    assert.deepEqual(await world.images(), [])
    ok(await world.build('--from', world.image, '--sha256', sum))
    assert.equal((await world.images()).length, 3)
    await nothingLeft(world)
  })

  test('a plan needs no knox.yaml: it is that of the example then', async (t) => {
    const dir = await tempFolder(t)
    const words = [resolve('scripts/knox.mjs'), 'build-image', '--dry-run']
    const env = { HOME: dir, PATH: '/usr/bin:/bin' }
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { cwd: dir, encoding: 'utf8', env })
    assert.equal(status, 0, stderr)
    assert.match(stderr, /no knox\.yaml yet: this is the plan for knox\.example\.yaml/)
    for (const stage of ['preflight', 'sources', 'changes', 'build', 'kernel', 'customise', 'publish'])
      assert.match(stdout, new RegExp(`^# ${stage}$`, 'm'))
    assert.deepEqual(await readdir(dir), [])
  })

  test('without keys nothing is begun', async (t) => {
    const world = await buildWorld(t)
    await rm(join(world.keys, 'knox-ca.pub'))
    fails(await world.build(), 3, /lacks knox-ca\.pub/)
    assert.ok(!existsSync(world.work))
  })

  test('a work folder that crochet cannot bear is refused', async (t) => {
    const world = await buildWorld(t)
    fails(await world.build('--work', '/tmp/with a blank'), 2, /without blanks/)
  })
})
