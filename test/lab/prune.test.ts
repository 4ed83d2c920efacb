import assert from 'node:assert/strict'
import { appendFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { startWorld, type World } from '../../provision/lab/world.ts'
import {
  ended,
  hashes,
  lockedAgain,
  newestSnapshot,
  passGrace,
  prepareDisk,
  withOpenDisk,
} from '../support/lab.ts'

/** Home is thinned, by knox and by others, and the chain to the box does not break. */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 256 })
  await appendFile(`${world.dir}/knox.yaml`, '  keep: {daily: 2}\n')
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home('zfs create tank/a; echo one > a/file')
  for (const day of ['01', '02', '03', '04'])
    await world.home(`zfs snapshot -r tank@2026-01-${day}T12:00:00Z`)
  await world.home('zfs snapshot tank/a@by-hand')
  ended(await world.knox('snapback'), 0)
})
after(() => world.stop())

const snapshots = async (dataset: string) =>
  (await world.home(`zfs list -H -d 1 -t snapshot -o name -s createtxg ${dataset}`))
    .trim()
    .split('\n')
    .map((name) => name.replace(/.*@/, ''))

describe('the newest snapshot that both sides have', () => {
  test('is held at home: no other program can destroy it; the older ones are not', async () => {
    const newest = await newestSnapshot(world)
    const said = await world.home(`zfs destroy tank/a@${newest} 2>&1 && exit 1; zfs destroy tank/a@by-hand`)
    assert.match(said, /held|busy/)
    assert.match(await world.home(`zfs holds -H tank@${newest} tank/a@${newest}`), /knox:knox[^]*knox:knox/)
  })

  test('gives its hold to the next one', async () => {
    const old = await newestSnapshot(world)
    await world.home('echo two > a/file')
    ended(await world.knox('snapback'), 0)
    const newest = await newestSnapshot(world)
    const { stdout } = { stdout: await world.home('zfs list -H -r -t snapshot -o name,userrefs tank') }
    const held = stdout.split('\n').filter((line) => line.endsWith('\t1'))
    assert.deepEqual(held.sort(), [`tank/a@${newest}\t1`, `tank@${newest}\t1`])
    assert.notEqual(old, newest)
  })
})

describe('prune', () => {
  test('shows each decision with its reason, and asks', async () => {
    const output = await world.knox('prune', '--dry-run')
    ended(output, 0, /destroy {2}tank@2026-01-01T12:00:00Z {2}no period keeps it/)
    assert.match(output.stdout, /keep {5}tank\/a@\S+ {2}the next backup needs it/)
    ended(await world.knox('prune'), 4, /nobody is at a terminal/)
    assert.ok((await snapshots('tank')).includes('2026-01-01T12:00:00Z'))
  })

  test('thins home; the next backup is incremental, and the box keeps what it has', async () => {
    ended(await world.knox('prune', '--yes'), 0, /snapshots destroyed at home/)
    const left = await snapshots('tank/a')
    // the two newest days that have one are that of the test, and the 4th
    assert.deepEqual(
      left.filter((name) => name.startsWith('2026-01')),
      ['2026-01-04T12:00:00Z'],
    )
    ended(await world.knox('prune', '--yes'), 0, /^0 snapshots destroyed/)
    await world.home('echo three > a/file')
    const output = await world.knox('snapback', '--json')
    ended(output, 0)
    assert.equal((JSON.parse(output.stdout) as { destroyed: number }).destroyed, 0)
    const newest = await newestSnapshot(world)
    const wanted = await hashes(world, `tank/a@${newest}`)
    await withOpenDisk(world, async () => {
      assert.equal(await hashes(world, `wd/a@${newest}`), wanted)
      const { stdout } = await world.box('zfs list -H -d 1 -t snapshot -o name wd/a')
      assert.match(stdout, /@2026-01-01T12:00:00Z[^]*@by-hand/)
    })
    await lockedAgain(world)
  })

  test('what is gone at home goes on the box after the grace; its anchors and the newest stay', async () => {
    await passGrace(world)
    const output = await world.knox('backup', '--prove', '--json')
    ended(output, 0)
    assert.ok((JSON.parse(output.stdout) as { destroyed: number }).destroyed >= 3, output.stdout)
    await withOpenDisk(world, async () => {
      const { stdout } = await world.box('zfs list -H -d 1 -t snapshot -o name,userrefs -s createtxg wd/a')
      const left = stdout.trim().split('\n')
      assert.ok(!/@2026-01-0[1-3]|by-hand/.test(stdout), stdout)
      // the first of the day, and the newest
      assert.equal(left.filter((line) => line.endsWith('\t1')).length, 2, stdout)
      assert.match(left.at(-1) ?? '', new RegExp(`@${await newestSnapshot(world)}\t1$`))
      assert.match((await world.box('zfs get -H -o value knox:destroyed wd')).stdout, /^[0-9]{8}:[0-9]+:20$/m)
    })
    ended(await world.knox('backup'), 0, /nothing to send/)
    await lockedAgain(world)
  })
})
