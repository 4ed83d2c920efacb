import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { buildWorld, fails, nothingLeft, ok, until, useSsh, watchXz } from '../support/build-world.ts'

/** `knox build-image` stopped and killed at any moment, alone and at a distance: nothing stays attached. */

describe('a build that is not left alone', () => {
  for (const [stage, line] of [
    ['world', /error: 'cpu_id' macro redefined/],
    ['kernel', /error: 'cpu_id' macro redefined/],
    ['ubldr', /ld: error: ubldr is too big/],
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

  test('one build at a time: another one in the same folders ends with 11 and disturbs nothing', async (t) => {
    const world = await buildWorld(t)
    await world.set('slow-build')
    const run = world.start()
    await until(() => world.has('building'))
    fails(await world.build('--work', join(world.dir, 'other')), 11, /another knox is at work/)
    fails(await world.build('--from', world.image, '--sha256', '0'.repeat(64)), 14, /not the image/)
    run.kill('SIGTERM')
    await run.ended
    await nothingLeft(world)
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

  for (const isFar of [false, true])
    test(`killed -9 while customising ${isFar ? 'at a distance' : 'here'}: a rerun with nothing to do leaves nothing either`, async (t) => {
      const world = await buildWorld(t)
      if (isFar) await useSsh(t, world)
      ok(await world.build())
      const run = world.start('--force')
      await until(() => run.said().includes('reading everything back'))
      run.kill('SIGKILL')
      await run.ended
      assert.notDeepEqual(await world.leftovers(), [])
      const again = await world.build()
      ok(again)
      assert.match(again.stdout, /nothing was done/)
      await nothingLeft(world)
      for (const name of ['knox.img', 'knox.img.new', 'knox.img.work'])
        assert.ok(!existsSync(join(world.work, name)), name)
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

  test('stopped while a machine at a distance builds: crochet is ended there, and everything taken down', async (t) => {
    const world = await buildWorld(t)
    await useSsh(t, world)
    await world.set('slow-build')
    const run = world.start()
    await until(() => world.has('building'))
    run.kill('SIGTERM')
    const { code, stderr } = await run.ended
    assert.equal(code, 130, stderr)
    assert.equal(spawnSync('pgrep', ['-f', `${world.work}/`]).status, 1)
    await nothingLeft(world)
  })

  test('one build at a time at a distance too: another home ends with 11 and disturbs nothing', async (t) => {
    const world = await buildWorld(t)
    await useSsh(t, world)
    await world.set('slow-build')
    const run = world.start()
    await until(() => world.has('building'))
    // between its phases crochet is not seen
    await rm(join(world.work, 'crochet.pid'))
    const other = ['--out', join(world.dir, 'other')]
    fails(await world.build(...other), 11, /another knox is at work on root@builder\.lan/)
    const from = [
      '--from',
      world.image,
      '--sha256',
      createHash('sha256')
        .update(await readFile(world.image))
        .digest('hex'),
      ...other,
    ]
    fails(await world.build(...from), 11, /another knox is at work on root@builder\.lan/)
    run.kill('SIGTERM')
    await run.ended
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
    await useSsh(t, world)
    const calls = await watchXz(t, world)
    ok(await world.build('--compress'))
    await calls.areThoseOf('--compress')
    await nothingLeft(world)
    const names = await world.images()
    assert.equal(names.length, 5, names.join(' '))
    assert.ok(!names.some((name) => name.startsWith('.knox-work')))
    const [image = ''] = names
    const { stdout } = spawnSync('xz', ['-dc', join(world.out, `${image}.xz`)])
    assert.ok(stdout.equals(await readFile(join(world.out, image))))
    await world.writeYaml({ builder: '-oProxyCommand=id' })
    fails(await world.build(), 3, /image\.builder is not a machine/)
  })

  test('a ready image is customised by a machine at a distance, and comes back', async (t) => {
    const world = await buildWorld(t)
    await useSsh(t, world)
    const packed = join(world.dir, 'ready.img.xz')
    await writeFile(packed, spawnSync('xz', ['-c', world.image]).stdout)
    const sum = spawnSync('sha256sum', [packed], { encoding: 'utf8' }).stdout.split(' ')[0] ?? ''
    fails(await world.build('--from', packed, '--sha256', sum.replace(/^./, 'x')), 2, /no SHA-256/)
    const calls = await watchXz(t, world)
    const from = ['--from', packed, '--sha256', sum, '--compress']
    ok(await world.build(...from))
    await calls.areThoseOf(...from)
    assert.equal((await world.images()).length, 5)
    assert.ok(!existsSync(join(world.work, 'knox.img')), 'a copy with the host key in it')
    await nothingLeft(world)
  })
})
