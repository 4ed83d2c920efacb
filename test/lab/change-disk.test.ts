import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { bundleOf } from '../../provision/lab/bundle.ts'
import { must, PASSPHRASE, serveBox, startWorld, type World } from '../../provision/lab/world.ts'
import { ended, lockedAgain, prepareDisk } from '../support/lab.ts'
import { CTRL_C, ENTER, startPty } from '../support/pty.ts'

/** A box whose script names a disk that is not there: prepare-disk gives it the one that is, as root over ssh and csh. */

let world: World

const yaml = () => readFile(`${world.dir}/knox.yaml`, 'utf8')
const nameDisk = async (name: string) => {
  const text = (await yaml()).replace(/^ {2}disk: .*\n/m, '')
  await writeFile(`${world.dir}/knox.yaml`, text.replace('box:\n', `box:\n  disk: ${name}\n`))
}
const sum = async () =>
  createHash('sha256')
    .update(await readFile(`${world.dir}/da0.img`))
    .digest('hex')
const copy = (disk: string) => `${world.dir}/keys/geli-metadata-${disk}.bin`
const onBox = async (line: string) => must(await world.box(line)).stdout.trim()

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 256, box: 'bare' })
  await nameDisk('da7')
  must(await world.knox('keys', 'init', '--passphrase-file', `${world.dir}/passphrase`))
  await serveBox(world)
})
after(() => world.stop())

/** A second disk of the box, da1, while work is done. */
const withSecondDisk = async (work: () => Promise<void>): Promise<void> => {
  const image = `${world.dir}/da1.img`
  const make = [
    'export DM_DISABLE_UDEV=1',
    `truncate -s 64M ${image} && losetup /dev/loop1 ${image}`,
    'echo "0 131072 linear /dev/loop1 0" | dmsetup create da1',
    'ln -s "/dev/dm-$(dmsetup info -c --noheadings -o minor da1)" /dev/da1',
  ]
  await world.home(make.join('\n'))
  await work().finally(() =>
    world.home('rm /dev/da1; DM_DISABLE_UDEV=1 dmsetup remove da1; losetup -d /dev/loop1'),
  )
}

describe('another disk than knox.yaml’s', () => {
  test('of several the wizard asks for one, and can be stopped there', () =>
    withSecondDisk(async () => {
      const words = ['setup', '--config', `${world.dir}/knox.yaml`, '--delegate', 'root']
      const argv = ['node', '--no-deprecation', bundleOf('scripts/knox.ts'), ...words]
      const pty = startPty(argv, { cwd: world.dir, columns: 240 })
      await pty.see(/passphrase of the keys/, 120)
      pty.type(PASSPHRASE + ENTER)
      await pty.see(/which disk of the box\?[^]*da0: [^]*serial LAB-0001[^]*da1: [^]*serial LAB-0002/, 120)
      pty.type(CTRL_C)
      assert.equal(await pty.ended, 130, pty.screen())
      assert.match(await yaml(), /disk: da7/)
      await lockedAgain(world)
    }))

  test('is shown in a dry run, with the new script’s installation', async () => {
    const before = await onBox('cat /root/knox-zfs-receive.sh')
    const output = await prepareDisk(world, '--disk', 'da0', '--dry-run')
    ended(output, 0, /geli init .*\/dev\/da0[^]*\/root\/knox-zfs-receive\.sh [0-9a-f]{64}/)
    assert.equal(await onBox('cat /root/knox-zfs-receive.sh'), before)
    assert.match(await yaml(), /disk: da7/)
  })

  test('is prepared, told to the box and to knox.yaml, and the next backup opens it', async () => {
    ended(
      await prepareDisk(world, '--disk', 'da0', '--yes'),
      0,
      /the box’s script names da0, and says that it is locked/,
    )
    assert.match(await yaml(), /disk: da0/)
    assert.equal(await onBox("grep '^disk=' /root/knox-zfs-receive.sh"), "disk='da0'")
    assert.equal(await onBox('ls /root /var/run/knox-script.new 2>/dev/null | grep -c new || :'), '0')
    await lockedAgain(world)
    ended(await world.knox('snapback'), 0)
    await lockedAgain(world)
  })

  test('is used again as it is if it was prepared before: no byte of it changes', async () => {
    const before = await sum()
    await nameDisk('da7')
    // it was prepared under that name
    await rename(copy('da0'), copy('da7'))
    await onBox(`sed -i "s/^disk='da0'/disk='da7'/" /root/knox-zfs-receive.sh`)
    ended(await prepareDisk(world, '--disk', 'da0', '--yes'), 0, /the box uses da0 /)
    assert.equal(await sum(), before)
    assert.equal(await onBox("grep '^disk=' /root/knox-zfs-receive.sh"), "disk='da0'")
    assert.match(await yaml(), /disk: da0/)
    assert.deepEqual(await readFile(copy('da0')), await readFile(copy('da7')))
    // knox.yaml is right, the box's script alone is not
    await onBox(`sed -i "s/^disk='da0'/disk='da7'/" /root/knox-zfs-receive.sh`)
    ended(await prepareDisk(world, '--yes'), 0, /the box uses da0 /)
    assert.equal(await sum(), before)
    assert.equal(await onBox("grep '^disk=' /root/knox-zfs-receive.sh"), "disk='da0'")
    // the receipt is forgotten, so the run looks at the disk, and finds all that it has
    ended(await world.knox('backup'), 0)
    await lockedAgain(world)
  })

  test('without a copy of its metadata is known by the key: no byte of it changes, and the copy comes home', async () => {
    await rm(copy('da7'))
    const kept = await readFile(copy('da0'))
    const before = await sum()
    for (const words of [['--yes'], ['--yes', '--erase']]) {
      await rm(copy('da0'))
      ended(await prepareDisk(world, ...words), 0, /the box uses da0 .*stays as it was, and is locked/)
      await lockedAgain(world)
      assert.equal(await sum(), before)
      assert.deepEqual(await readFile(copy('da0')), kept)
    }
    ended(await world.knox('backup', '--prove'), 0)
    await lockedAgain(world)
  })
})
