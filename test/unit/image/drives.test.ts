import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import type { Reader } from '../../../provision/core/command.ts'
import { chooseDrive, describeDrives, lossOf, wordsOf, type Drives } from '../../../provision/image/drives.ts'
import {
  drivesFrom,
  findPart,
  readDrivesFreebsd,
  type FreebsdAnswers,
} from '../../../provision/image/drives-freebsd.ts'
import { drivesIn } from '../../../provision/image/drives-linux.ts'
import { geomDisks, geomLabels, geomMemoryDisks } from '../../../provision/tools/geom.ts'
import { lsblk } from '../../../provision/tools/lsblk.ts'
import { mounts } from '../../../provision/tools/mount.ts'
import { knoxError } from '../../support/expect.ts'

const fixture = (name: string) =>
  readFileSync(new URL(`../../fixtures/drives/${name}`, import.meta.url), 'utf8')

const GIB = 1024 ** 3
const refused = (
  drives: Drives,
  path: string,
  pattern: RegExp,
  code: 'refused' | 'disk' | 'no-space' = 'refused',
) => assert.throws(() => chooseDrive(drives, path, GIB), knoxError(code, pattern), path)

describe('the drives of a Linux machine', () => {
  const linux = drivesIn(lsblk.parse(fixture('lsblk-2.38.json')))

  test('a free stick is taken, by its own name', () => {
    const drive = chooseDrive(linux, '/dev/sdb', GIB)
    assert.deepEqual([drive.path, drive.model, drive.bytes], ['/dev/sdb', 'SanDisk Ultra', 15_931_539_456])
    assert.deepEqual(drive.holds, ['vfat BOOT'])
  })

  test('is confirmed by its path, its name or its model, unless another drive is of that model', () => {
    const drive = chooseDrive(linux, '/dev/sdb', GIB)
    assert.deepEqual(wordsOf(drive, linux.drives), ['/dev/sdb', 'sdb', 'SanDisk Ultra'])
    assert.deepEqual(wordsOf(drive, [...linux.drives, { ...drive, path: '/dev/sdz' }]), ['/dev/sdb', 'sdb'])
    assert.deepEqual(wordsOf({ ...drive, model: 'unknown model' }, []), ['/dev/sdb', 'sdb'])
  })

  test('the question before it is written names what it holds', () => {
    const target = { name: '/dev/sdb SanDisk', words: ['/dev/sdb', 'sdb'] }
    assert.equal(
      lossOf({ ...target, holds: ['vfat BOOT', 'ext4'] }),
      'everything on /dev/sdb SanDisk, which holds vfat BOOT, ext4, will be lost; type /dev/sdb or sdb to go on:',
    )
    assert.match(lossOf({ ...target, holds: [] }), /^everything on \/dev\/sdb SanDisk will be lost;/)
  })

  test('the system’s drive is refused, be it encrypted, swap behind a RAID, or compressed memory', () => {
    refused(linux, '/dev/nvme0n1', /holds the running system \(\/boot\/efi, \/home, \/\)/)
    refused(linux, '/dev/sde', /holds the running system \(swap\)/)
    refused(linux, '/dev/zram0', /holds the running system/)
  })

  test('a mounted one is refused with where it is mounted', () => {
    refused(linux, '/dev/sdd', /Kingston DataTraveler.*is in use: \/media\/p\/photos/)
  })

  test('a partition or volume is refused with the drive it is on', () => {
    refused(
      linux,
      '/dev/sdb1',
      /\/dev\/sdb1 is a partition on \/dev\/sdb, not a whole drive\n[^]*belongs on \/dev\/sdb/,
    )
    refused(linux, '/dev/mapper/root', /encrypted volume on \/dev\/nvme0n1/)
    refused(linux, '/dev/dm-1', /logical volume on \/dev\/sde/)
    refused(linux, '/dev/md0', /device of type raid1 on \/dev\/sde/)
  })

  test('a write-protected card, a reader without one, a CD, and what is not there', () => {
    refused(linux, '/dev/mmcblk0', /write-protected\n[^]*switch/)
    refused(linux, '/dev/sda', /no card in \/dev\/sda/, 'disk')
    refused(linux, '/dev/sr0', /not a drive of this machine/, 'disk')
    refused(linux, '/dev/sdz', /not a drive of this machine/, 'disk')
  })

  test('a drive is large enough or not, to the byte', () => {
    const { bytes } = chooseDrive(linux, '/dev/sdb', 0)
    assert.equal(chooseDrive(linux, '/dev/sdb', bytes).path, '/dev/sdb')
    assert.throws(
      () => chooseDrive(linux, '/dev/sdb', bytes + 1),
      knoxError('no-space', /too small: it has 15931539456 bytes, the image 15931539457/),
    )
  })

  test('a loop device and a table made by hand are taken when named, not offered', () => {
    assert.equal(chooseDrive(linux, '/dev/loop0', GIB).path, '/dev/loop0')
    assert.equal(chooseDrive(linux, '/dev/dm-2', GIB).path, '/dev/mapper/flaky')
    assert.doesNotMatch(describeDrives(linux.drives), /loop|flaky|zram/)
  })

  test('the list names model, size and what is mounted; those that can be used come first', () => {
    assert.deepEqual(describeDrives(linux.drives).split('\n'), [
      '/dev/sdb SanDisk Ultra (usb, 14.8 GiB): holds vfat BOOT',
      '/dev/sdc WDC WD40EFRX (sata, 3.6 TiB): holds zfs_member tank',
      '/dev/nvme0n1 Samsung SSD 970 PRO 512GB (nvme, 477 GiB): the system’s own drive',
      '/dev/sda Generic STORAGE DEVICE (usb, 0 B): no card in it',
      '/dev/mmcblk0 unknown model (mmc, 29.7 GiB): write-protected',
      '/dev/sdd Kingston DataTraveler 3.0 (usb, 7.4 GiB): in use: /media/p/photos',
      '/dev/sde ST1000DM010 (sata, 932 GiB): the system’s own drive',
    ])
    assert.equal(describeDrives([]), 'no drive was found')
  })
})

describe('the drives of a FreeBSD machine', () => {
  const answers = (more: Partial<FreebsdAnswers>): FreebsdAnswers => ({
    disks: geomDisks.parse(fixture('geom-disk-list-10.2')),
    memoryDisks: [],
    labels: new Map(),
    mounts: [],
    swap: [],
    pools: new Map(),
    ...more,
  })
  const labels = geomLabels.parse(
    'ufs/rootfs N/A mmcsd0s2a\nmsdosfs/MSDOSBOOT N/A mmcsd0s1\ndiskid/DISK-17TY N/A da0\nmsdosfs/OLD N/A da0s1\ngpt/zfs1 N/A ada0p3\n',
  )

  test('a free stick is taken, also by the name of its serial', () => {
    const { drives, parts } = drivesFrom(answers({ labels }))
    const drive = chooseDrive({ drives, parts }, '/dev/da0', GIB)
    assert.deepEqual([drive.model, drive.holds, drive.uses], ['JetFlash Transcend 16GB', ['msdosfs/OLD'], []])
    assert.equal(chooseDrive({ drives, parts }, '/dev/diskid/DISK-17TY', GIB).path, '/dev/da0')
  })

  test('a card with the root file system by its label, and with encrypted swap, is the system’s', () => {
    const found = drivesFrom(
      answers({
        labels,
        mounts: mounts.parse(
          '/dev/ufs/rootfs\t/\tufs\trw\t1 1\n/dev/msdosfs/MSDOSBOOT\t/boot/msdos\tmsdosfs\trw\t0 0\n',
        ),
        swap: ['/dev/mmcsd0s3.eli'],
      }),
    )
    refused(found, '/dev/mmcsd0', /holds the running system \(\/, \/boot\/msdos, swap\)/)
  })

  test('root on a pool: each of its disks is the system’s, other pools only use theirs', () => {
    const found = drivesFrom(
      answers({
        labels,
        mounts: mounts.parse('zroot/ROOT/default\t/\tzfs\trw\t0 0\nwd\t/wd\tzfs\trw\t0 0\n'),
        pools: new Map([
          ['zroot', ['zroot', 'mirror-0', 'gpt/zfs1.eli', 'mmcsd0s4']],
          ['wd', ['wd', 'da10.eli']],
        ]),
      }),
    )
    refused(found, '/dev/ada0', /holds the running system \(\/\)/)
    refused(found, '/dev/mmcsd0', /holds the running system \(\/\)/)
    refused(found, '/dev/da10', /in use: pool wd/)
  })

  test('a disk that anything has open is refused even if nobody knows what', () => {
    refused(drivesFrom(answers({})), '/dev/da10', /in use: something has it open/)
  })

  test('da1 and da10 are not mixed up', () => {
    const found = drivesFrom(answers({ mounts: mounts.parse('/dev/da10s1\t/mnt\tmsdosfs\trw\t0 0\n') }))
    refused(found, '/dev/da10', /in use: \/mnt/)
    refused(found, '/dev/da1', /no card in/, 'disk')
    assert.deepEqual(chooseDrive(found, '/dev/da0', GIB).uses, [])
  })

  test('a slice, partition or label is refused with its disk', () => {
    const found = drivesFrom(answers({ labels }))
    refused(found, '/dev/msdosfs/OLD', /is the label of da0s1 on \/dev\/da0/)
    for (const path of [
      '/dev/da0s1',
      '/dev/da0s2a',
      '/dev/da0p3',
      '/dev/da0a',
      '/dev/da0s1.eli',
      '/dev/diskid/DISK-17TYs1',
    ])
      refused(findPart(found, path, labels), path, /is a partition on \/dev\/da0/)
    refused(findPart(found, '/dev/da0x', labels), '/dev/da0x', /not a drive/, 'disk')
    refused(findPart(found, '/dev/mmcsd0boot0', labels), '/dev/mmcsd0boot0', /not a drive/, 'disk')
  })

  test('a memory disk is taken when named, not offered; a read-only one is refused; a CD is no drive', () => {
    const found = drivesFrom(answers({ memoryDisks: geomMemoryDisks.parse(fixture('geom-md-list-13.2')) }))
    assert.equal(chooseDrive(found, '/dev/md0', GIB).path, '/dev/md0')
    refused(found, '/dev/md1', /write-protected/)
    refused(found, '/dev/cd0', /not a drive/, 'disk')
    assert.deepEqual(describeDrives(found.drives).split('\n'), [
      '/dev/da0 JetFlash Transcend 16GB (14.7 GiB): nothing mounted',
      '/dev/ada0 WDC WD2500AAKX-753CA1 (233 GiB): in use: something has it open',
      '/dev/da1 Generic SD/MMC (0 B): no card in it',
      '/dev/da10 Generic Compact Flash (3.7 GiB): in use: something has it open',
      '/dev/mmcsd0 SDHC SU04G 8.0 SN 1F2C8D5A MFG 04/2013 by 3 SD (3.7 GiB): in use: something has it open',
    ])
  })

  test('is asked with a handful of commands that change nothing', async () => {
    const said = new Map([
      ['geom disk list', fixture('geom-disk-list-10.2')],
      ['mount -p', '/dev/mmcsd0s2a\t/\tufs\trw\t1 1\n/dev/msdosfs/OLD\t/mnt\tmsdosfs\trw\t0 0\n'],
      ['swapinfo -k', 'Device 1K-blocks Used Avail Capacity\n'],
    ])
    const asked: string[] = []
    const reader: Reader = {
      read: ({ argv, parse }) => {
        const line = argv.slice(argv[1] === '-c' ? 2 : 0).join(' ')
        asked.push(line)
        const answer = line.includes('geom label') ? 'msdosfs/OLD N/A da0s1\n' : ''
        return Promise.resolve(parse(said.get(line) ?? answer))
      },
    }
    const found = await readDrivesFreebsd(reader, '/dev/da10s1')
    refused(found, '/dev/da10s1', /is a partition on \/dev\/da10/)
    refused(found, '/dev/mmcsd0', /holds the running system \(\/\)/)
    refused(found, '/dev/da0', /in use: \/mnt/)
    assert.equal(asked.length, 6)
  })

  test('13.2 is read alike', () => {
    const found = drivesFrom(answers({ disks: geomDisks.parse(fixture('geom-disk-list-13.2')) }))
    assert.equal(chooseDrive(found, '/dev/da0', GIB).model, 'SanDisk SanDisk 3.2 Gen1')
    refused(found, '/dev/nvd0', /in use/)
    refused(found, '/dev/mmcsd0boot0', /in use/)
  })
})
