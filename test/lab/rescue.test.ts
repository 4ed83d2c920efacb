import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { after, before, describe, test } from 'node:test'
import { bundleOf } from '../../provision/lab/bundle.ts'
import { startWorld, type World } from '../../provision/lab/world.ts'
import { ended, hashes, lockedAgain, newestSnapshot, prepareDisk } from '../support/lab.ts'

/** The day the house burned down, as docs/rescue.md says: a disk, its key, and a Linux machine. */

let world: World
let disk = ''
let snapshot = ''
let wanted = ''

before(async () => {
  world = await startWorld({ diskMib: 256, tankMib: 384 })
  disk = `${world.dir}/da0.img`
  ended(await prepareDisk(world, '--yes'), 0)
  await world.home(
    'zfs create tank/photos; dd if=/dev/urandom of=photos/holiday bs=1M count=8; echo "Zürich ☂" > "photos/ünïcode ☂ name"',
  )
  ended(await world.knox('snapback'), 0)
  await lockedAgain(world)
  snapshot = await newestSnapshot(world)
  wanted = await hashes(world, `tank/photos@${snapshot}`)
})
after(() => world.stop())

const key = () => ['--key', `${world.dir}/keys/geli.key`]

describe('the box’s disk on a machine without FreeBSD', () => {
  test('is recognised without its key, and it is GELI: version 7, AES-XTS 128', async () => {
    ended(await world.knox('rescue', 'info', disk), 0, /metadata version 7\nAES-XTS 128, sectors of 4096/)
    const image = await readFile(disk)
    assert.equal(image.toString('latin1', image.length - 512, image.length - 503), 'GEOM::ELI')
    const backup = await readFile(`${world.dir}/keys/geli-metadata-da0.bin`)
    assert.ok(backup.subarray(0, 511).equals(image.subarray(image.length - 512, image.length - 1)))
  })

  test('is served read-only; its pool is imported by the commands that are printed, and every file is there', async () => {
    const program = ['--no-deprecation', bundleOf('scripts/knox.ts'), 'rescue', 'serve', disk, ...key()]
    const server = spawn('node', program, { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    server.stdout.setEncoding('utf8').on('data', (text: string) => (said += text))
    for (let waited = 0; waited < 600 && !said.includes('before Ctrl-C'); waited += 1)
      await world.home('sleep 0.1')
    const [client = '', importing = ''] = said
      .split('\n')
      .filter((line) => /^ {2}(nbd-client|zpool)/.test(line))
    await world.home(`${client}; ${importing.replace('POOL', 'wd')}`)
    assert.equal(await hashes(world, `wd/photos@${snapshot}`), wanted)
    assert.equal(await world.home('zpool get -H -o value readonly wd'), 'on\n')
    await world.home('zpool export wd; nbd-client -d /dev/nbd0')
    server.kill('SIGINT')
    assert.deepEqual(await once(server, 'exit'), [0, null])
  })

  test('is decrypted to a file with holes, whose pool is the same', async () => {
    const plain = `${world.dir}/plain`
    const output = await world.knox('rescue', 'decrypt', disk, ...key(), '--to', plain)
    ended(output, 0)
    const [loop = '', importing = ''] = output.stdout
      .split('\n')
      .filter((line) => /^ {2}(losetup|zpool)/.test(line))
    await world.home(`${loop}; ${importing.replace('POOL', 'wd')}`)
    assert.equal(await hashes(world, `wd/photos@${snapshot}`), wanted)
    await world.home('zpool export wd; losetup -d /dev/loop7')
    const [size, blocks] = (await world.home(`stat -c '%s %b' ${plain}`)).split(' ').map(Number)
    assert.ok((blocks ?? 0) * 512 < (size ?? 0) / 2, `${String(blocks)} blocks of ${String(size)} bytes`)
    await world.home(`rm ${plain}`)
  })

  test('with a wrong key stays shut: exit 12', async () => {
    await world.home(`head -c 1024 /dev/urandom > ${world.dir}/wrong`)
    ended(await world.knox('rescue', 'decrypt', disk, '--key', `${world.dir}/wrong`, '--to', '/tmp/no'), 12)
  })

  test('is still the box’s disk: the next backup goes on', async () => {
    await world.home('echo more > photos/more; sleep 1')
    ended(await world.knox('snapback'), 0, /proved/)
    await lockedAgain(world)
  })
})

describe('a disk that a real FreeBSD made', () => {
  test('is opened on this Linux, its pool imported, and every file has its checksum', async () => {
    const fixture = fileURLToPath(new URL('../../test/fixtures/freebsd-disk', import.meta.url))
    const [image, plain, sealed] = ['freebsd', 'plain', 'freebsd.key'].map((name) => `${world.dir}/${name}`)
    await world.home(
      `gunzip -c ${fixture}/disk.img.gz >${image}; install -m 600 ${fixture}/geli.key ${sealed}`,
    )
    ended(
      await world.knox('rescue', 'info', image ?? ''),
      0,
      /metadata version 7\nAES-XTS 128, sectors of 4096/,
    )
    ended(await world.knox('rescue', 'decrypt', image ?? '', '--key', sealed ?? '', '--to', plain ?? ''), 0)
    await world.home(
      [
        `losetup -r /dev/loop6 ${plain}`,
        'zpool import -d /dev/loop6 -o readonly=on -N -R /mnt photographs',
        `mkdir ${world.dir}/photographs; mount -t zfs -o ro photographs/2015@2015-07-25T16:14:10Z ${world.dir}/photographs`,
        `(cd ${world.dir}/photographs; sha256sum -c ${fixture}/sha256; [ "$(find . -type f | wc -l)" = "$(wc -l <${fixture}/sha256)" ])`,
        `umount ${world.dir}/photographs`,
      ].join('\n'),
    )
    const older = await hashes(world, 'photographs/2015@2015-07-24T16:14:10Z')
    assert.match(older, /cat\.txt/)
    await world.home('zpool export photographs; losetup -d /dev/loop6')
  })
})
