import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { startWorld, type World } from '../../provision/lab/world.ts'
import { ended, lockedAgain, prepareDisk } from '../support/lab.ts'

/** The contents of the box: compared, and tried by a restore. The scrub is tried on a real FreeBSD (test/freebsd). */

let world: World

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 512 })
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home(
    [
      'zfs create "tank/old letters"; zfs create -V 8M tank/disk',
      'for n in $(seq 30); do head -c 20000 /dev/urandom > "old letters/letter $n"; done',
      'printf x > "old letters/$(printf "new\\nline \\303\\274 \\377")"; ln -s /etc "old letters/etc"',
      'mkdir pictures; dd if=/dev/urandom of=pictures/cat bs=1M count=8',
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
