import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { geomDisks, geomLabels, geomMemoryDisks } from '../../../provision/tools/geom.ts'
import { lsblk } from '../../../provision/tools/lsblk.ts'
import { mounts } from '../../../provision/tools/mount.ts'
import { swapDevices } from '../../../provision/tools/swapinfo.ts'
import { xzUnpackedBytes } from '../../../provision/tools/xz.ts'
import { poolMembers } from '../../../provision/tools/zpool.ts'
import { knoxError } from '../../support/expect.ts'

const fixture = (name: string) =>
  readFileSync(new URL(`../../fixtures/drives/${name}`, import.meta.url), 'utf8')

describe('lsblk', () => {
  test('tells drives, what is on them, and all their mount points', () => {
    const nodes = lsblk.parse(fixture('lsblk-2.38.json'))
    const stick = nodes.find(({ names }) => names[0] === '/dev/sdd')
    assert.ok(stick !== undefined)
    assert.deepEqual(
      [stick.type, stick.bytes, stick.sectorBytes, stick.model, stick.serial, stick.bus, stick.readOnly],
      ['disk', 7_948_206_080, 512, 'Kingston DataTraveler 3.0', '1C1B0D', 'usb', false],
    )
    assert.deepEqual(
      stick.children.map(({ names, holds, mounts }) => [names, holds, mounts]),
      [[['/dev/sdd1'], 'ext4 photos', ['/media/p/photos']]],
    )
    const root = nodes[0]?.children[1]?.children[0]
    assert.deepEqual(
      [root?.names, root?.mounts],
      [
        ['/dev/mapper/root', '/dev/dm-0'],
        ['/home', '/'],
      ],
    )
    assert.equal(nodes.find(({ names }) => names[0] === '/dev/sdc')?.model, 'WDC WD40EFRX')
  })

  test('of an older util-linux has strings for numbers, and one mount point', () => {
    const [disk, card] = lsblk.parse(fixture('lsblk-2.29.json'))
    assert.deepEqual(
      [disk?.bytes, disk?.readOnly, disk?.children[0]?.mounts],
      [250_059_350_016, false, ['/']],
    )
    assert.deepEqual(
      [card?.bytes, card?.readOnly, card?.removable, card?.mounts],
      [31_914_983_424, true, true, []],
    )
  })

  test('cannot bring control characters of a drive or a mount point to the terminal', () => {
    const row = {
      name: '/dev/sdx',
      kname: '/dev/sdx',
      type: 'disk',
      size: 1,
      model: 'a\u001b[2Jb',
      mountpoint: '/m\u0007',
    }
    const [node] = lsblk.parse(JSON.stringify({ blockdevices: [row] }))
    assert.deepEqual([node?.model, node?.mounts], ['a?[2Jb', ['/m?']])
  })

  test('that says something else is an error', () => {
    for (const text of ['', 'lsblk: unknown column: TRAN', '{}', '[]', '{"blockdevices": 1}'])
      assert.throws(() => lsblk.parse(text), knoxError('failed', /lsblk/))
  })
})

describe('geom', () => {
  test('disk list of 10.2', () => {
    const disks = geomDisks.parse(fixture('geom-disk-list-10.2'))
    assert.deepEqual(
      disks.map(({ name, bytes, sectorBytes, inUse }) => [name, bytes, sectorBytes, inUse]),
      [
        ['cd0', 0, 2048, false],
        ['ada0', 250_059_350_016, 512, true],
        ['da0', 15_787_360_256, 512, false],
        ['da1', 0, 512, false],
        ['da10', 4_017_807_360, 512, true],
        ['mmcsd0', 3_965_190_144, 512, true],
      ],
    )
    assert.deepEqual(
      [disks[2]?.description, disks[2]?.serial],
      ['JetFlash Transcend 16GB', '17TYRSE65DEAAUTI'],
    )
    assert.equal(disks[0]?.serial, undefined)
  })

  test('disk list of 13.2; a disk without a mode counts as used', () => {
    const disks = geomDisks.parse(fixture('geom-disk-list-13.2'))
    assert.deepEqual(
      disks.map(({ name, inUse }) => [name, inUse]),
      [
        ['nvd0', true],
        ['mmcsd0', false],
        ['mmcsd0boot0', true],
        ['da0', false],
      ],
    )
  })

  test('md list, with the read-only ones', () => {
    assert.deepEqual(
      geomMemoryDisks
        .parse(fixture('geom-md-list-13.2'))
        .map(({ name, bytes, readOnly }) => [name, bytes, readOnly]),
      [
        ['md0', 4_089_446_400, false],
        ['md1', 1_048_576, true],
      ],
    )
    assert.deepEqual(geomMemoryDisks.parse(''), [])
  })

  test('label status', () => {
    const text =
      '      ufs/rootfs  N/A  mmcsd0s2a\n  msdosfs/MSDOSBOOT     N/A  mmcsd0s1\ndiskid/DISK-17TY  N/A  da0\n\n'
    assert.deepEqual(
      [...geomLabels.parse(text)],
      [
        ['ufs/rootfs', 'mmcsd0s2a'],
        ['msdosfs/MSDOSBOOT', 'mmcsd0s1'],
        ['diskid/DISK-17TY', 'da0'],
      ],
    )
  })
})

describe('mount -p, swapinfo and zpool status of FreeBSD', () => {
  test('mount points keep their blanks, escaped or not', () => {
    const text = [
      '/dev/ufs/rootfs\t\t/\t\t\tufs\trw\t\t1 1',
      'devfs\t\t\t/dev\t\t\tdevfs\trw\t\t0 0',
      'zroot/ROOT/default      /                       zfs\trw,noatime,nfsv4acls \t0 0',
      '/dev/da0s1\t\t/mnt/my stick\t\tmsdosfs\trw\t\t0 0',
      '/dev/da0s2\t\t/mnt/my\\040card\t\tmsdosfs\tro\t\t0 0',
      '',
    ].join('\n')
    assert.deepEqual(mounts.parse(text), [
      { from: '/dev/ufs/rootfs', on: '/', type: 'ufs' },
      { from: 'devfs', on: '/dev', type: 'devfs' },
      { from: 'zroot/ROOT/default', on: '/', type: 'zfs' },
      { from: '/dev/da0s1', on: '/mnt/my stick', type: 'msdosfs' },
      { from: '/dev/da0s2', on: '/mnt/my\\040card', type: 'msdosfs' },
    ])
  })

  test('swap devices', () => {
    const text =
      'Device          1K-blocks     Used    Avail Capacity\n/dev/mmcsd0s3.eli    800000        0   800000     0%\n'
    assert.deepEqual(swapDevices.parse(text), ['/dev/mmcsd0s3.eli'])
    assert.deepEqual(swapDevices.parse('Device          1K-blocks     Used    Avail Capacity\n'), [])
  })

  test('members of each pool', () => {
    const table = (pool: string, rows: readonly string[]) =>
      [
        `  pool: ${pool}`,
        ' state: ONLINE',
        '  scan: none requested',
        'config:',
        '',
        '\tNAME        STATE     READ WRITE CKSUM',
      ]
        .concat(
          rows.map((row) => `\t${row}   ONLINE       0     0     0`),
          '',
          'errors: No known data errors',
          '',
        )
        .join('\n')
    const text =
      table('bootpool', ['bootpool', '  ada0p2']) +
      '\n' +
      table('zroot', ['zroot', '  mirror-0', '    ada0p3.eli', '    gpt/zfs1'])
    assert.deepEqual(
      [...poolMembers.parse(text)],
      [
        ['bootpool', ['bootpool', 'ada0p2']],
        ['zroot', ['zroot', 'mirror-0', 'ada0p3.eli', 'gpt/zfs1']],
      ],
    )
    assert.equal(poolMembers.parse('no pools available\n').size, 0)
    assert.equal(poolMembers.parse('').size, 0)
  })
})

test('xz --list tells the unpacked size, of several streams too', () => {
  const { parse } = xzUnpackedBytes('a.img.xz')
  assert.equal(
    parse(
      'name\tt.xz\nfile\t1\t1\t5000312\t5000000\t1.000\tCRC64\t0\ntotals\t1\t1\t5000312\t5000000\t1.000\tCRC64\t0\t1\n',
    ),
    5_000_000,
  )
  assert.equal(parse('totals\t2\t3\t99\t8000000000\t---\tCRC64\t0\t1\n'), 8_000_000_000)
  assert.equal(parse('totals\t0\t0\t0\t0\t---\tNone\t0\t0\n'), 0)
})
