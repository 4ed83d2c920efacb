import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { startWorld, type World } from '../../provision/lab/world.ts'
import { ended, hashes, lockedAgain, lockedInTime, newestSnapshot, prepareDisk } from '../support/lab.ts'

/** The way back: files, a dataset, and the whole pool onto a new disk. */

let world: World
let newest = ''

before(async () => {
  world = await startWorld({ diskMib: 512, tankMib: 768, homeYaml: '  retries: 1\n' })
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home(
    [
      'zfs create tank/photos',
      'zfs create -o compression=gzip "tank/photos/old letters"',
      'mkdir -p photos/2015; dd if=/dev/urandom of=photos/2015/holiday bs=1M count=8',
      'echo "Zürich ☂" > "photos/2015/ünïcode ☂ name"; echo first > photos/cat; chmod 640 photos/cat',
      'ln -s cat photos/link',
      'echo dear > "photos/old letters/1"',
      `zfs create -o mountpoint=${world.dir}/placed tank/photos/placed`,
    ].join('\n'),
  )
  ended(await world.knox('snapback'), 0)
  await world.home('sleep 1; echo second > photos/cat; dd if=/dev/urandom of=photos/more bs=1M count=6')
  ended(await world.knox('snapback'), 0)
  newest = await newestSnapshot(world)
})
after(() => world.stop())

const restore = (...words: readonly string[]) =>
  world.knox('restore', '--passphrase-file', `${world.dir}/passphrase`, ...words)

const guids = (dataset: string) =>
  world.home(`zfs list -H -r -t snapshot -o guid -s createtxg '${dataset}' | sort`)

describe('knox restore', () => {
  test('lists what the box has', async () => {
    const output = await restore('--list')
    ended(output, 0)
    assert.match(output.stdout, /wd\/photos\/old letters\n {2}@/)
    await lockedAgain(world)
  })

  test('brings files of the newest snapshot or an older one, with their modes, and compares them', async () => {
    ended(await restore('tank/photos', '--file', '2015', '--to', `${world.dir}/a`), 0, /2 files of @/)
    await world.home(`cmp ${world.dir}/a/2015/holiday photos/2015/holiday`)
    await world.home(`cmp "${world.dir}/a/2015/ünïcode ☂ name" "photos/2015/ünïcode ☂ name"`)
    const oldest = (await world.home('zfs list -H -d 1 -t snapshot -o name -s createtxg tank/photos'))
      .split('\n')[0]
      ?.split('@')[1]
    const cat = ['--file', 'cat', '--snapshot', oldest ?? '', '--to', `${world.dir}/b`]
    ended(await restore('tank/photos', ...cat), 0)
    assert.equal(await world.home(`cat ${world.dir}/b/cat; stat -c %a ${world.dir}/b/cat`), 'first\n640\n')
    await lockedAgain(world)
  })

  test('does not touch a folder that holds something, nor take a path out of the dataset', async () => {
    ended(await restore('tank/photos', '--file', 'cat', '--to', `${world.dir}/b`), 4, /is not empty/)
    ended(await restore('tank/photos', '--file', '../x', '--to', `${world.dir}/c`), 2, /not a path/)
    ended(
      await restore('tank/photos', '--file', 'no/such', '--to', `${world.dir}/c`),
      3,
      /there is no no\/such/,
    )
    ended(await restore('tank/nosuch', '--to', 'tank/x'), 3, /has no dataset wd\/nosuch/)
    ended(await restore('other/photos', '--to', 'tank/x'), 2, /not below tank/)
    await lockedAgain(world)
  })

  test('brings a dataset with all below it, every snapshot, and home’s own settings', async () => {
    ended(await restore('tank/photos', '--to', 'tank/again'), 0, /3 datasets with 6 snapshots/)
    await lockedAgain(world)
    assert.equal(await guids('tank/again'), await guids('tank/photos'))
    assert.equal(await hashes(world, `tank/again@${newest}`), await hashes(world, `tank/photos@${newest}`))
    assert.equal(
      await world.home('zfs get -H -o value canmount,readonly,compression "tank/again/old letters"'),
      'on\noff\ngzip\n',
    )
    assert.equal(await world.home('zfs get -H -o value mounted tank/again'), 'no\n')
    // zfs mount -a must not cover the original
    assert.equal(await world.home('zfs get -H -o value canmount tank/again/placed'), 'noauto\n')
  })

  test('once more finds all of it there, and adds nothing', async () => {
    ended(await restore('tank/photos', '--to', 'tank/again'), 0, /0 B came|0 bytes came|\(0/)
  })

  test('refuses a target that holds something else', async () => {
    await world.home('zfs create tank/other; echo mine > other/mine')
    ended(await restore('tank/photos', '--to', 'tank/other'), 4, /is there already/)
    await world.home('zfs snapshot tank/other@mine')
    ended(await restore('tank/photos', '--to', 'tank/other'), 4, /holds something else/)
    assert.equal(await world.home('cat other/mine'), 'mine\n')
    await lockedAgain(world)
  })

  test('that is cut off goes on where it stopped', async () => {
    await world.sabotage(
      'ssh',
      `case "$*" in *"zfs send -P"*) "$@" | (head -c 3000000; sleep 2); exit 255 ;; esac; exec "$@"`,
    )
    const cut = await restore('tank/photos', '--to', 'tank/third')
    ended(cut, 19, /broke/)
    ended(cut, 19, /broke while it sent wd\/photos; trying again in 5 s/)
    await world.repair()
    await lockedInTime(world)
    ended(await restore('tank/photos', '--to', 'tank/third'), 0, /going on with tank\/third/)
    assert.equal(await guids('tank/third'), await guids('tank/photos'))
    assert.equal(await hashes(world, `tank/third@${newest}`), await hashes(world, `tank/photos@${newest}`))
  })

  test('brings the whole pool onto a new disk', async () => {
    await world.home(
      `truncate -s 256M ${world.dir}/new.img; zpool create -m ${world.dir}/new new ${world.dir}/new.img`,
    )
    ended(await restore('tank', '--to', 'new'), 4, /is there already/)
    const whole = await restore('tank', '--to', 'new', '--overwrite', '--yes')
    ended(whole, 0, /4 datasets/)
    // tank is still here, and has the mount point that came along
    assert.match(whole.stderr, /not mounted by themselves.*: new over tank/)
    await lockedAgain(world)
    assert.equal(await hashes(world, `new/photos@${newest}`), await hashes(world, `tank/photos@${newest}`))
    assert.equal(await world.home('zfs get -H -o value canmount,readonly new'), 'noauto\noff\n')
    await world.home('zpool destroy new')
  })

  test('wants the passphrase of the keys', async () => {
    await writeFile(`${world.dir}/wrong`, 'not the passphrase\n')
    const output = await world.knox('restore', '--list', '--passphrase-file', `${world.dir}/wrong`)
    ended(output, 12, /passphrase/)
    await lockedAgain(world)
  })
})
