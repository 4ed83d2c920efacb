import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { Output } from '../../provision/system/process.ts'
import { flash, flashed, imageOf, loopIn, MIB, PROGRAM, sh } from '../support/flash-lab.ts'
import { ended } from '../support/lab.ts'

/** `knox flash` on real block devices of the guest: loop devices, SCSI disks, device-mapper tables that lie and fail. */

const IMAGE_MIB = 24
const DRIVE_MIB = 32
const DRIVE_SECTORS = DRIVE_MIB * 2048

let dir = ''
let full = ''
let sparse = ''

const loopOf = (mib: number, isBlank = false): Promise<string> => loopIn(dir, mib, isBlank)

/** Flashes, and does something to it once it writes. */
const flashAnd = async (
  act: (child: ChildProcess) => unknown,
  ...words: readonly string[]
): Promise<{ readonly code: unknown; readonly stderr: string }> => {
  const child = spawn('node', [...PROGRAM, ...words, '--yes', '--json'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  let acted: unknown
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    if (stderr.includes('"writing ')) acted ??= act(child)
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  await acted
  return { code, stderr }
}

const holds = async (image: string, device: string): Promise<void> => {
  await sh(`blockdev --flushbufs ${device}; cmp -n $(stat -c %s ${image}) ${image} ${device}`)
}

/** Its first mebibyte is zeros, or the text that is there until all else is proved: nothing starts from it. */
const isHeadless = (device: string): Promise<string> =>
  sh(
    `blockdev --flushbufs ${device}; cmp -n ${MIB} /dev/zero ${device} || ` +
      `{ yes 'this drive is not finished: flash it again' | head -c ${MIB} >${dir}/text; cmp -n ${MIB} ${dir}/text ${device}; }`,
  )

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'flash-'))
  ;[full, sparse] = [join(dir, 'full.img'), join(dir, 'sparse.img')]
  await writeFile(full, imageOf(IMAGE_MIB))
  await writeFile(sparse, imageOf(4))
  await truncate(sparse, IMAGE_MIB * MIB)
  await sh('modprobe -a dm-flakey dm-delay sd_mod; modprobe scsi_debug dev_size_mb=16 virtual_gb=1 delay=0')
})
after(() => rm(dir, { recursive: true, force: true }))

describe('flash to a drive', () => {
  test('a full image is on it, the kernel sees its partition, and the end of the drive is clear', async () => {
    const drive = await loopOf(DRIVE_MIB)
    ended(await flash(full, drive, '--yes'), 0, /every byte is right/)
    await holds(full, drive)
    await sh(`partx -u ${drive} || blockdev --rereadpt ${drive}; test -b ${drive}p1`)
    assert.equal(await sh(`tail -c ${MIB} ${drive} | tr -d '\\000' | wc -c`), '0')
  })

  test('of a sparse one only the data are written where it is blank; a stain is found and cleared', async () => {
    const drive = await loopOf(DRIVE_MIB, true)
    const { skippedZeros, clearedBytes } = await flashed(sparse, drive)
    assert.deepEqual([skippedZeros, clearedBytes], [true, 0])
    const file = await sh(`losetup -n -O BACK-FILE ${drive}`)
    assert.ok(Number(await sh(`du -m ${file} | cut -f 1`)) < 8)
    await sh(`printf stain | dd of=${drive} bs=1 seek=${15 * MIB + 12_345} conv=notrunc,fsync 2>/dev/null`)
    assert.ok((await flashed(sparse, drive)).clearedBytes > 0)
    await holds(sparse, drive)
  })

  test('of a sparse one zeros are written where it is not blank; --discard makes it blank first', async () => {
    const drive = await loopOf(DRIVE_MIB)
    assert.equal((await flashed(sparse, drive)).skippedZeros, false)
    await holds(sparse, drive)
    await flashed(full, drive)
    assert.equal((await flashed(sparse, drive, '--discard')).skippedZeros, true)
    await holds(sparse, drive)
  })
})

describe('flash refuses', () => {
  const untouched = async (drive: string, output: Output, exitCode: number, pattern: RegExp) => {
    ended(output, exitCode, pattern)
    const look = `blockdev --flushbufs ${drive}; dd if=${drive} bs=1M skip=20 count=1 2>/dev/null | head -c 400`
    assert.match(await sh(look), /photograph/)
  }

  test('a mounted drive, by where it is mounted; also one that another namespace has mounted', async () => {
    const drive = await loopOf(DRIVE_MIB)
    await sh(`mkfs.ext4 -q -E nodiscard ${drive} 8M; mkdir -p ${dir}/mnt; mount ${drive} ${dir}/mnt`)
    await untouched(drive, await flash(full, drive, '--yes'), 4, /is in use: \/tmp\/flash-.*\/mnt/)
    const other = spawn('unshare', ['-m', 'sleep', '600'], { stdio: 'ignore' })
    await sh(`sleep 2; umount ${dir}/mnt`)
    const output = await flash(full, drive, '--yes')
    other.kill()
    await untouched(drive, output, 4, /is in use: a pool, LVM, RAID or another program/)
  })

  test('swap, and a member of a pool', async () => {
    const swap = await loopOf(DRIVE_MIB)
    await sh(`mkswap ${swap} 8192; swapon ${swap}`)
    await untouched(swap, await flash(full, swap, '--yes'), 4, /holds the running system \(swap\)/)
    await sh(`swapoff ${swap}`)
    const member = await loopOf(128, true)
    await sh(`zpool create -f -m none flashpool ${member}`)
    ended(await flash(full, member, '--yes'), 4, /is in use: a pool, LVM/)
    await sh('zpool scrub -w flashpool; zpool status -x flashpool | grep healthy; zpool destroy flashpool')
  })

  test('a partition, naming the drive; the drive while its partition is mounted', async () => {
    const drive = await loopOf(DRIVE_MIB)
    await sh(`dd if=${full} of=${drive} bs=512 count=1 conv=notrunc,fsync 2>/dev/null; partx -u ${drive}`)
    const part = await flash(full, `${drive}p1`, '--yes')
    await untouched(drive, part, 4, /p1 is a partition on \/dev\/loop\d+, not a whole drive/)
    await sh(`mkfs.ext4 -q -E nodiscard ${drive}p1; mkdir -p ${dir}/part; mount ${drive}p1 ${dir}/part`)
    ended(await flash(full, drive, '--yes'), 4, /is in use: \/tmp\/flash-.*\/part/)
    await sh(`umount ${dir}/part; e2fsck -fn ${drive}p1`)
  })

  test('one that is too small by a sector, one that is read-only', async () => {
    const small = await loopOf(IMAGE_MIB)
    await sh(`truncate -s -512 $(losetup -n -O BACK-FILE ${small}); losetup --set-capacity ${small}`)
    await untouched(small, await flash(full, small, '--yes'), 18, /too small/)
    const locked = await loopOf(DRIVE_MIB)
    await sh(`blockdev --setro ${locked}`)
    await untouched(locked, await flash(full, locked, '--yes'), 4, /write-protected/)
  })
})

describe('flash to a drive that', () => {
  /** a device-mapper drive over old data: linear up to a sector and from another on, `rest` between them */
  const mapped = async (
    name: string,
    from: number,
    rest: (loop: string) => string,
    to = DRIVE_SECTORS,
  ): Promise<string> => {
    const loop = await loopOf(DRIVE_MIB)
    const linear = (start: number, end: number) =>
      end > start ? [`${start} ${end - start} linear ${loop} ${start}`] : []
    const lines = [...linear(0, from), `${from} ${to - from} ${rest(loop)}`, ...linear(to, DRIVE_SECTORS)]
    await sh(`(${lines.map((line) => `echo '${line}'`).join('; ')}) | dmsetup create ${name}`)
    return `/dev/mapper/${name}`
  }

  /** milliseconds that every write takes */
  const slow = (name: string, wait: number): Promise<string> =>
    mapped(name, 0, (loop) => `delay ${loop} 0 0 ${loop} 0 ${wait}`)

  test('drops writes from some byte on is told by that byte, and keeps no partition table', async () => {
    const from = 13 * 2048
    const drive = await mapped('liar', from, (loop) => `flakey ${loop} ${from} 0 60 1 drop_writes`)
    const wrong = new RegExp(
      `byte ${from * 512} of .* is not what was written[^]*partition table was removed`,
    )
    ended(await flash(full, drive, '--yes'), 14, wrong)
    await isHeadless(drive)
  })

  test('drops every write is told by its first byte', async () => {
    const drive = await mapped('deaf', 0, (loop) => `flakey ${loop} 0 0 60 1 drop_writes`)
    ended(await flash(full, drive, '--yes'), 14, /byte 0 of/)
  })

  test('changes bytes on their way is found out', async () => {
    const from = 10 * 2048
    const bad = `0 60 5 corrupt_bio_byte 32 w 1 0`
    const drive = await mapped('corrupt', from, (loop) => `flakey ${loop} ${from} ${bad}`)
    ended(await flash(full, drive, '--yes'), 14, /is not what was written/)
    await isHeadless(drive)
  })

  test('fails at some byte is told by where', async () => {
    const drive = await mapped('broken', 17 * 2048, () => 'error', 18 * 2048)
    ended(await flash(full, drive, '--yes'), 21, /stopped (writing|reading) at byte 1[67]\d{6} \(EIO\)/)
  })

  test('fails from some byte to its end is kept as it is: nothing says what it holds', async () => {
    const drive = await mapped('stump', 17 * 2048, () => 'error')
    ended(await flash(full, drive, '--yes'), 21, /the end of .* cannot be read[^]*nothing was changed/)
    assert.match(await sh(`blockdev --flushbufs ${drive}; head -c 400 ${drive}`), /photograph/)
  })

  test('vanishes in the middle is an error of the drive', async () => {
    const drive = await slow('gone', 300)
    const { code, stderr } = await flashAnd(
      () => sh('dmsetup wipe_table --force --noflush gone'),
      full,
      drive,
    )
    assert.equal(code, 21, stderr)
    assert.match(stderr, /the drive stopped .* at byte \d+ \((EIO|ENXIO|ENODEV)\)/)
  })

  test('is slow, stopped in the middle: exit 130, no partition table; flashed again it is complete', async () => {
    const drive = await slow('slow', 300)
    const { code, stderr } = await flashAnd(
      (child) => setTimeout(() => child.kill('SIGINT'), 700),
      full,
      drive,
    )
    assert.equal(code, 130, stderr)
    assert.match(stderr, /is not complete, or not proved to be: flash it again/)
    await isHeadless(drive)
    await flashed(full, drive)
    await holds(full, drive)
  })
})

describe('flash to a SCSI disk', () => {
  let drive = ''
  before(async () => {
    drive = `/dev/${await sh('cd /sys/bus/pseudo/drivers/scsi_debug; ls -d adapter*/host*/target*/*/block/* | sed "s,.*/,,"')}`
  })

  test('lists it with model and size; that it pretends to be larger than it is, is found out', async () => {
    ended(await flash(), 0, new RegExp(`${drive} Linux scsi_debug \\(1\\.0 GiB\\): nothing mounted`))
    // 16 MiB that pretend to be a gibibyte: byte 16 MiB is byte 0
    ended(await flash(full, drive, '--yes'), 14, /is not what was written[^]*smaller than it says/)
  })

  test('pulled out in the middle it is an error of the drive', async () => {
    const small = join(dir, 'small.img')
    await writeFile(small, imageOf(12))
    await sh('echo 50 >/sys/bus/pseudo/drivers/scsi_debug/delay')
    const pull = () => sh(`echo 1 >/sys/block/${drive.slice('/dev/'.length)}/device/delete`)
    const { code, stderr } = await flashAnd(pull, small, drive)
    assert.equal(code, 21, stderr)
    assert.match(stderr, /the drive stopped .* \(E[A-Z]+\)/)
  })
})
