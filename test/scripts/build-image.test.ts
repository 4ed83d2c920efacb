import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { appendFile, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tempFolder, writeProgram } from '../support/expect.ts'
import { buildWorld, CPUVAR, writeFreebsd, type BuildWorld, type Ran } from '../support/build-world.ts'

/** `knox build-image` on a build host of strict stand-ins (test/freebsd): crochet, svn, the disk programs. */

const ok = ({ code, stderr }: Ran): void => assert.equal(code, 0, stderr)
const fails = ({ code, stderr }: Ran, wanted: number, pattern: RegExp): void => {
  assert.equal(code, wanted, stderr)
  assert.match(stderr, pattern)
}
const nothingLeft = async (world: BuildWorld): Promise<void> => assert.deepEqual(await world.leftovers(), [])
const until = async (ready: () => boolean): Promise<void> => {
  for (let n = 0; n < 400 && !ready(); n += 1) await sleep(50)
  assert.ok(ready())
}

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
  })

  test('says everything that the host lacks at once, with what mends it', async (t) => {
    const world = await buildWorld(t)
    await rm(join(world.world, 'u-boot'))
    await world.set('uid', '1001')
    await world.writeYaml({ source: 'https://svn.example/base/releng/10.2' })
    const bin = await tempFolder(t)
    await writeProgram(bin, 'df', 'echo "Filesystem 1K Used Avail"; echo "/dev/x 100 50 1000 5% /"')
    world.usePath(`${bin}:${process.env['PATH'] ?? ''}`)
    const { code, stderr } = await world.build()
    assert.equal(code, 15)
    for (const line of [/must run as root/, /u-boot\.img is missing: today’s package/])
      assert.match(stderr, line)
    assert.ok(!existsSync(world.work))
    assert.equal(existsSync(join(world.world, 'log')) ? await world.crochets() : 0, 0)
  })

  test('on another system ends with 15 and says what to do, nothing half done', async (t) => {
    const world = await buildWorld(t)
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

  for (const [stage, line] of [
    ['world', /error: 'cpu_id' macro redefined/],
    ['kernel', /error: 'cpu_id' macro redefined/],
    ['image', /No space left on device/],
  ] as const)
    test(`a failing ${stage} shows the real error, leaves nothing attached, and a rerun goes on there`, async (t) => {
      const world = await buildWorld(t)
      await world.set('fail', stage)
      const failed = await world.build()
      fails(failed, 1, /crochet could not build the image/)
      assert.match(failed.stderr, line)
      assert.ok(!failed.stderr.includes('make: stopped in /usr/src/150'))
      await nothingLeft(world)
      assert.deepEqual(await world.images(), [])
      const again = await world.build()
      ok(again)
      if (stage !== 'world') assert.match(again.stderr, /the world of the build before is used/)
      await nothingLeft(world)
    })

  test('a changed kernel configuration or source line forces the kernel that crochet would skip', async (t) => {
    const world = await buildWorld(t)
    ok(await world.build())
    await appendFile(join(world.work, 'src/sys/arm/conf/RPI-B-ZFS'), 'options INET6\n')
    await rm(join(world.work, 'built'))
    const again = await world.build('--force')
    ok(again)
    assert.match(again.stderr, /RPI-B-ZFS: applied[^]*building the kernel/)
    assert.match(again.stderr, /the world of the build before is used/)
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
    ok(await world.build())
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

  for (const moment of [
    'fetching freebsd',
    'fetching crochet',
    'cpuvar\\.h: applied',
    'config\\.sh: applied',
    'crochet has built',
    'the kernel has what',
    'making .*img',
  ])
    test(`killed -9 at “${moment}”: the rerun finishes, and nothing stays attached`, async (t) => {
      const world = await buildWorld(t)
      const run = world.start()
      await until(() => new RegExp(moment).test(run.said()))
      run.kill('SIGKILL')
      await run.ended
      // crochet, if it was begun, ends by itself
      await until(() => spawnSync('pgrep', ['-f', `${world.work}/`]).status === 1)
      ok(await world.build('--yes', '--force'))
      await nothingLeft(world)
    })

  test('stopped in the middle takes everything down, and the rerun finishes', async (t) => {
    const world = await buildWorld(t)
    await world.set('slow-build')
    const run = world.start()
    await until(() => world.has('building'))
    run.kill('SIGTERM')
    const { code, stderr } = await run.ended
    assert.equal(code, 130, stderr)
    assert.match(stderr, /run it again, it goes on from there/)
    await nothingLeft(world)
    // neither crochet nor a compiler of it works on
    assert.equal(spawnSync('pgrep', ['-f', `${world.work}/`]).status, 1)
    ok(await world.build())
    await nothingLeft(world)
  })

  test('killed -9: the rerun waits for crochet, takes down what is left when told to, and finishes', async (t) => {
    const world = await buildWorld(t)
    await world.set('slow-build')
    const run = world.start()
    await until(() => world.has('building'))
    run.kill('SIGKILL')
    await run.ended
    const pid = Number(await readFile(join(world.work, 'crochet.pid'), 'utf8'))
    fails(
      await world.build(),
      11,
      new RegExp(`crochet of an earlier run is still at work \\(process ${pid}\\)`),
    )
    process.kill(pid, 'SIGTERM')
    await until(() => spawnSync('ps', ['-p', pid.toString()]).status !== 0)
    assert.notDeepEqual(await world.leftovers(), [])
    fails(await world.build(), 4, /an earlier build has left .*md9; take that down\?/)
    ok(await world.build('--yes'))
    await nothingLeft(world)
  })

  test('a machine at a distance builds, whatever its login shell, and the image comes back whole', async (t) => {
    const world = await buildWorld(t)
    const bin = await tempFolder(t)
    // a stand-in for ssh: the words after -- go to a login shell here, as sshd does; csh is what FreeBSD's root has
    const shell = spawnSync('sh', ['-c', 'command -v tcsh']).status === 0 ? 'tcsh -f' : 'sh'
    await writeProgram(
      bin,
      'ssh',
      `while [ "$1" != -- ]; do last=$1; shift; done; [ "$last" = root@builder.lan ] || exit 255; exec ${shell} -c "$2"`,
    )
    world.usePath(`${bin}:${process.env['PATH'] ?? ''}`)
    await world.writeYaml({ builder: 'root@builder.lan:2222' })
    ok(await world.build('--compress'))
    await nothingLeft(world)
    const names = await world.images()
    assert.equal(names.length, 5, names.join(' '))
    assert.ok(!names.some((name) => name.startsWith('.knox-work')))
    await world.writeYaml({ builder: '-oProxyCommand=id' })
    fails(await world.build(), 3, /image\.builder is not a machine/)
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
