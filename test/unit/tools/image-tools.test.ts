import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fsckFatFindings, fsckFindings, isClean } from '../../../provision/tools/fsck.ts'
import { partitionTable } from '../../../provision/tools/gpart.ts'
import { mdAttach, mdDetach, memoryDisks } from '../../../provision/tools/mdconfig.ts'
import { mountFat, mounts, mountUfs, unmount } from '../../../provision/tools/mount.ts'
import { accounts, closeAccounts, secureDatabase } from '../../../provision/tools/pwd-mkdb.ts'
import { linkTarget, namesIn, sha256All, statAll } from '../../../provision/tools/stat.ts'

/** The programs that an image is customised with: what they are told, and what they print (13.2, seen; 10.2, by its source). */

describe('mdconfig', () => {
  test('is told the unit, none is assumed, and whether it may write (facts 11.18)', () => {
    assert.deepEqual(
      mdAttach('/a b.img', 3, 'read-write').argv.join(' '),
      'mdconfig -a -t vnode -f /a b.img -u 3',
    )
    assert.equal(mdAttach('/i', 0, 'read-only').argv.join(' '), 'mdconfig -a -t vnode -o readonly -f /i -u 0')
    assert.equal(mdDetach(12).argv.join(' '), 'mdconfig -d -u 12')
  })

  test('lists disks with their files: with a label column, without, and of memory', () => {
    const printed =
      'md7\tvnode\t  200M\t/tmp/k/i.img\t\nmd10\tvnode\t  3.6G\t/home/a b/knox.img\nmd0\tswap\t 64.0M\n'
    assert.deepEqual(memoryDisks.parse(printed), [
      { unit: 7, file: '/tmp/k/i.img' },
      { unit: 10, file: '/home/a b/knox.img' },
      { unit: 0, file: undefined },
    ])
    assert.deepEqual(memoryDisks.parse(''), [])
  })

  test('to a user who is not root says so, even for a list', () => {
    const said = 'mdconfig: open(/dev/mdctl): Permission denied'
    for (const { failures } of [memoryDisks, mdAttach('/i', 0, 'read-only')]) {
      const rule = failures?.find(({ pattern }) => pattern.test(said))
      assert.deepEqual([rule?.code, rule?.hints], ['platform', ['run it as root']])
    }
  })
})

describe('gpart backup', () => {
  const { parse } = partitionTable('md7')
  test('tells the partitions, with attributes or without', () => {
    const old = 'MBR 4\n1     !12      63    34776  [active] \n2 freebsd   34839  6144000  \n'
    assert.deepEqual(parse(old), {
      scheme: 'MBR',
      partitions: [
        { index: 1, type: '!12', start: 63, size: 34_776 },
        { index: 2, type: 'freebsd', start: 34_839, size: 6_144_000 },
      ],
    })
    assert.equal(parse('MBR 4\n1 fat32lba     63  34816  \n').partitions[0]?.type, 'fat32lba')
    assert.deepEqual(parse('BSD 8\n1 freebsd-ufs      0 307200  \n').partitions[0]?.type, 'freebsd-ufs')
    assert.deepEqual(parse(''), { scheme: '', partitions: [] })
  })
})

describe('fsck', () => {
  const whole = [
    ...['** /dev/md7s2a (NO WRITE)', '** Last Mounted on /mnt', '** Phase 1 - Check Blocks and Sizes'],
    ...[
      '** Phase 5 - Check Cyl groups',
      '16 files, 2319 used, 34776 free (40 frags, 4342 blocks, 0.1% fragmentation)',
      '',
    ],
  ]
  test('finds nothing in a sound file system', () => {
    assert.deepEqual(fsckFindings('/dev/md7s2a').parse(whole.join('\n')), [])
  })

  test('says what it finds, and whether it came to its end', () => {
    const found = fsckFindings('/dev/md7s2a').parse(
      [...whole, 'UNREF FILE  I=9  OWNER=root MODE=100644'].join('\n'),
    )
    assert.deepEqual(found, ['UNREF FILE  I=9  OWNER=root MODE=100644'])
    assert.deepEqual(fsckFindings('/dev/md7s2a').parse(whole.slice(0, 3).join('\n')), [
      'the check did not come to its end',
    ])
  })

  test('knows a file system that was unmounted cleanly', () => {
    const clean = isClean('/dev/md7s2a')
    assert.equal(
      clean.parse(
        ' (NO WRITE)** /dev/md7s2a (NO WRITE)\nFILE SYSTEM CLEAN; SKIPPING CHECKS\nclean, 36054 free (14 frags)\n',
      ),
      true,
    )
    assert.equal(
      clean.parse(
        '** SU+J Recovering /dev/md7s2a\n\nUSE JOURNAL? no\n\n3 files, 1041 used, 36054 free (14 frags)\n',
      ),
      false,
    )
  })

  test('finds nothing in a sound FAT', () => {
    const { parse } = fsckFatFindings('/dev/md7s1')
    assert.deepEqual(
      parse('** /dev/md7s1\n** Phase 3 - Checking for Lost Files\n1 files, 17 MiB free (4343 clusters)\n'),
      [],
    )
    assert.deepEqual(
      parse('** /dev/md7s1\nLost cluster chain at cluster 5\n3 files, 9 free (2 clusters)\n'),
      ['Lost cluster chain at cluster 5'],
    )
    assert.deepEqual(parse('** /dev/md7s1\n'), ['the check did not come to its end'])
  })
})

describe('mount', () => {
  test('is told file system and access', () => {
    assert.equal(
      mountUfs('/dev/md0s2a', '/m', 'read-only').argv.join(' '),
      'mount -t ufs -o ro /dev/md0s2a /m',
    )
    assert.equal(
      mountUfs('/dev/md0s2a', '/m', 'read-write').argv.join(' '),
      'mount -t ufs -o rw,noatime /dev/md0s2a /m',
    )
    assert.equal(mountFat('/dev/md0s1', '/m').argv.join(' '), 'mount -t msdosfs -o ro /dev/md0s1 /m')
    assert.deepEqual(
      [unmount('/m').argv, unmount('/m', true).argv],
      [
        ['umount', '/m'],
        ['umount', '-f', '/m'],
      ],
    )
  })

  test('lists a mounted image', () => {
    const printed = '/dev/md7s2a\t\t/tmp/k/i.img.work/root\tufs\trw,noatime,nfsv4acls \t2 2\n'
    assert.deepEqual(mounts.parse(printed), [
      { from: '/dev/md7s2a', on: '/tmp/k/i.img.work/root', type: 'ufs' },
    ])
  })
})

describe('the account files', () => {
  test('are closed by one line, which csh takes as it is', () => {
    const words = closeAccounts('/m/etc').argv
    assert.equal(words.at(-1), '/m/etc')
    assert.ok(!words.join().includes('\n') && !words.join().includes('!'))
  })

  test('are read without comments and NIS lines', () => {
    const text = '# $FreeBSD$\nroot:*:0:0::0:0:Charlie &:/root:/bin/csh\n+:::::::::\nbroken:x\n'
    assert.deepEqual(accounts('/m/etc').parse(text), [{ name: 'root', password: '*', uid: '0' }])
    assert.deepEqual(secureDatabase('/m/etc').parse(' 00 61\n 2a\n'), Buffer.from('\0a*'))
  })
})

describe('facts of files', () => {
  test('stat: kinds, modes, owners, times, names with blanks', () => {
    const { parse } = statAll(['/m/a b'])
    const facts = parse(
      '100600 0 0 1455580800 /m/a b\n40755 0 5 1 /m\n120755 0 0 1 /m/l\n20666 0 0 1 /m/null\n',
    )
    assert.deepEqual(facts.get('/m/a b'), {
      kind: 'file',
      mode: 0o600,
      uid: 0,
      gid: 0,
      modified: 1_455_580_800,
    })
    assert.deepEqual(
      ['/m', '/m/l', '/m/null'].map((path) => facts.get(path)?.kind),
      ['folder', 'link', 'other'],
    )
    assert.equal(parse('41777 0 0 1 /m/tmp\n').get('/m/tmp')?.mode, 0o1777)
  })

  test('sha256, readlink, find', () => {
    const hex = 'f4ef36d02be46c7334e27a7faf70e8e8e8d9d9035fac766862ce469dd2382b69'
    assert.deepEqual([...sha256All(['/m/a b']).parse(`${hex} /m/a b\n`)], [['/m/a b', hex]])
    assert.equal(linkTarget('/m/l').parse('/var/run/x\n'), '/var/run/x')
    assert.deepEqual(namesIn('/m', '*').parse('/m/a\n/m/b c\n'), ['/m/a', '/m/b c'])
  })
})
