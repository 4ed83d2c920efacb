import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { startWorld, type World } from '../../provision/lab/world.ts'
import { ended, lockedAgain, prepareDisk } from '../support/lab.ts'

/** The contents of the box: compared, read to the last block, tried by a restore; and what is damaged is found. */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 512 })
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home(
    [
      'zfs create "tank/old letters"; zfs create -V 8M tank/disk',
      'for n in $(seq 30); do head -c 20000 /dev/urandom > "old letters/letter $n"; done',
      'printf x > "old letters/$(printf "new\\nline \\303\\274 \\377")"; ln -s /etc "old letters/etc"',
      'mkdir pictures; dd if=/dev/urandom of=pictures/cat bs=1M count=24',
    ].join('\n'),
  )
  ended(await world.knox('snapback'), 0)
})
after(() => world.stop())

const verifyState = async () =>
  JSON.parse(await readFile(`${world.dir}/keys/verify.json`, 'utf8')) as {
    files: number
    different: readonly string[]
    datasets: Record<string, { name: string; covered: string | null }>
  }

describe('verify', () => {
  test('compares other files in each run, until every file had its turn', async () => {
    ended(await world.knox('verify', '--budget', '200K'), 0, /files .* are the same at home and on the box/)
    await lockedAgain(world)
    assert.ok(
      Object.values((await verifyState()).datasets).filter(({ covered }) => covered !== null).length < 2,
    )
    ended(await world.knox('verify', '--budget', '100M'), 0, /every file was compared of: /)
    const { datasets } = await verifyState()
    assert.deepEqual(
      Object.values(datasets)
        .map(({ name, covered }) => [name, covered !== null])
        .sort(),
      [
        ['tank', true],
        ['tank/old letters', true],
      ],
    )
    ended(await world.knox('status'), 0, /contents: .* the same at .*; every file once since/)
  })
})

describe('restore --drill', () => {
  test('brings files back and compares them, and leaves nothing', async () => {
    const output = await world.knox('restore', '--drill', '--passphrase-file', `${world.dir}/passphrase`)
    ended(output, 0, /files .* came back as home has them/)
    await lockedAgain(world)
    assert.equal((await world.home('grep -c zfs.*look /proc/mounts || :')).trim(), '0')
  })
})

describe('scrub', () => {
  test('reads the whole disk, and tells that it is well', async () => {
    ended(await world.knox('scrub', '--for', '10m'), 0, /whole disk was read, and all of it is well/)
    await lockedAgain(world)
    ended(await world.knox('status'), 0, /disk: no damage at .*, scrubbed to its end at/)
  })

  test('finds what is damaged, and so does verify: exit 14', async () => {
    // here and there: of all that is not a file's content there are copies elsewhere
    await world.home(
      'sync; for at in $(seq 6000 512 60000); do dd if=/dev/urandom of=/dev/da0 bs=4k count=1 seek=$at conv=notrunc; done 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches',
    )
    const scrubbed = await world.knox('scrub', '--for', '10m')
    ended(scrubbed, 14, /the box’s disk is damaged/)
    await lockedAgain(world)
    ended(await world.knox('status'), 0, /disk: DAMAGED/)
    const verified = await world.knox('verify', '--budget', '100M')
    ended(verified, 14, /cannot read a file|not the same on the box/)
    await lockedAgain(world)
  })
})
