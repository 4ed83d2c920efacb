import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { mergeFstab, parseFstab } from '../../../provision/runtime/adopt-fstab.ts'
import {
  MARK,
  mergeLoaderConf,
  mergeRcConf,
  mergeSettings,
  mergeSshdConfig,
  networkOf,
  shownLine,
} from '../../../provision/runtime/adopt-merge.ts'
import { knoxError } from '../../support/expect.ts'

const OURS = 'hostname="knox"\nifconfig_em0="DHCP"\nsshd_enable="YES"\ndumpdev="NO"\n'

/** What sh makes of a text: the values of these variables. */
const valuesOf = (text: string, names: readonly string[]): readonly string[] => {
  const show = names.map((name) => `printf '%s\\n' "\${${name}-unset}"`).join('\n')
  const { status, stdout, stderr } = spawnSync('sh', ['-s'], {
    input: `${text}\n${show}\n`,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return stdout.split('\n').slice(-names.length - 1, -1)
}

describe('rc.conf merged', () => {
  test('keeps what connects the machine, and what knox says nothing about', () => {
    const old =
      'hostname="old"\nifconfig_re0="inet 192.168.1.9/24"\ndefaultrouter="192.168.1.1"\nzfs_enable="YES"\n'
    const merged = mergeRcConf(old, `${OURS}defaultrouter="10.0.0.1"\n`)
    assert.deepEqual(
      valuesOf(merged, ['hostname', 'ifconfig_re0', 'ifconfig_em0', 'defaultrouter', 'zfs_enable']),
      [...['knox', 'inet 192.168.1.9/24', 'unset', '192.168.1.1', 'YES']],
    )
    assert.doesNotMatch(merged, /old/)
  })
  test('takes knox’s network where there is none', () => {
    assert.deepEqual(valuesOf(mergeRcConf('ifconfig_lo0="inet 127.0.0.1"\n', OURS), ['ifconfig_em0']), [
      'DHCP',
    ])
    assert.equal(mergeRcConf(undefined, OURS), OURS)
  })
  test('leaves code as it stands, and wins over it', () => {
    const old = 'if [ -f /nothing ]; then\n  sshd_enable="NO"\nfi\nsshd_enable=$(echo NO)\n'
    const merged = mergeRcConf(old, OURS)
    assert.ok(merged.startsWith(old))
    assert.deepEqual(valuesOf(merged, ['sshd_enable']), ['YES'])
  })
  for (const [what, old] of [
    ['an open quote', 'a="1\n2'],
    ['a here-document', 'cat <<X >/dev/null\n'],
    ['a last line that goes on', 'a=1\\'],
    ['an exit', '[ -f /etc/hosts ]\nexit 0\n'],
    ['a return', 'if :; then\nreturn\nfi'],
    ['a quote after an escaped one', 'a="\\""\nb="'],
  ] as const)
    test(`refuses ${what}, that would swallow the rest`, () => {
      assert.throws(() => mergeRcConf(old, OURS), knoxError('refused', /rc\.conf/))
    })
  test('whatever stands there, sh gets knox’s values from the result, or it is refused', () => {
    const line = fc.oneof(
      fc.constantFrom(
        'sshd_enable="NO"',
        "sshd_enable='NO'",
        'sshd_enable=NO # no',
        '#',
        '',
        'a="b',
        "c='",
        'd=`',
        '"',
        "'",
        '\\',
      ),
      fc.constantFrom(
        'e="x # y"',
        'f=x\\',
        "# it's",
        'if false',
        'then',
        'fi',
        'exit',
        '{',
        '}',
        '(',
        ')',
        'x <<E',
        'E',
        ' sshd_enable=1',
      ),
      fc.string({
        unit: fc.constantFrom('a', 'b', '=', '"', "'", '\\', '`', '#', ' ', '$', '\t'),
        maxLength: 8,
      }),
    )
    fc.assert(
      fc.property(fc.array(line, { maxLength: 6 }), (lines) => {
        const old = lines.join('\n')
        let merged: string
        try {
          merged = mergeRcConf(old, OURS)
        } catch (error) {
          return knoxError('refused')(error)
        }
        const whole = spawnSync('sh', ['-n'], { input: merged })
        // a machine whose rc.conf is no program is found out by sh -n, before anything is changed
        if (whole.status !== 0) return spawnSync('sh', ['-n'], { input: `${old}\n:\n` }).status !== 0
        const { stdout } = spawnSync('sh', ['-s'], {
          input: `${merged}\necho "is $sshd_enable"`,
          encoding: 'utf8',
        })
        return stdout.endsWith('is YES\n')
      }),
      { numRuns: 300 },
    )
  })
  test('a second time it is the same', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom('a="1"', 'hostname="x"', '', '# c', 'if :; then', 'fi', 'ifconfig_re0="DHCP"'),
        ),
        (lines) => {
          const once = mergeRcConf(lines.join('\n'), OURS)
          assert.equal(mergeRcConf(once, OURS), once)
        },
      ),
    )
  })
  test('knows a network by DHCP from a fixed one', () => {
    assert.deepEqual(networkOf('ifconfig_em0="SYNCDHCP"\n'), { own: true, dhcp: true })
    assert.deepEqual(networkOf('ifconfig_em0="inet 1.2.3.4/8"\n'), { own: true, dhcp: false })
    assert.deepEqual(networkOf('#ifconfig_em0="DHCP"\n'), { own: false, dhcp: false })
    assert.deepEqual(networkOf(undefined), { own: false, dhcp: false })
  })
})

describe('loader.conf merged', () => {
  const ours = 'autoboot_delay="3"\nvm.kmem_size="150M"\nvfs.zfs.arc_max="32M"\n'
  test('keeps the way to the root; limits of memory are for small machines', () => {
    const old = 'vfs.root.mountfrom="ufs:/dev/da0p2"\nautoboot_delay="9"\nconsole="comconsole"\n'
    const big = mergeLoaderConf(old, ours, 2 * 1024 ** 3)
    assert.equal(
      big,
      `vfs.root.mountfrom="ufs:/dev/da0p2"\nconsole="comconsole"\n${MARK}\nautoboot_delay="3"\n`,
    )
    assert.match(mergeLoaderConf(old, ours, 512 * 1024 ** 2), /arc_max="32M"/)
  })
})

describe('sshd_config merged', () => {
  test('listens where it did, and takes nothing else', () => {
    const old = 'Port 2222\nport=22\nListenAddress [::1]:2222\nPermitRootLogin yes\nMatch User x\n Port 99\n'
    const merged = mergeSshdConfig(old, '# knox\nUsePAM no\n')
    assert.equal(
      merged,
      '# knox\n\n# where sshd listened before\nPort 2222\nport 22\nListenAddress [::1]:2222\nUsePAM no\n',
    )
    assert.equal(mergeSshdConfig('#Port 22\n', '# knox\n'), '# knox\n')
  })
  test('nothing of a hostile one gets in but plain words', () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.constantFrom('Port ', 'ListenAddress ', '2', '\n', '\r', '"', ' ', 'UsePAM yes'),
          maxLength: 12,
        }),
        (old) => {
          const added = mergeSshdConfig(old, '# knox\n').split('\n').slice(3)
          for (const line of added) assert.match(line, /^(?:(?:Port|ListenAddress) [A-Za-z0-9]+)?$/)
        },
      ),
    )
  })
})

const TABLE =
  '/dev/ada0p2 / ufs rw,noatime 1 1\n/dev/ada0p3.eli none swap sw 0 0\ntmpfs /tmp tmpfs rw,failok 0 0\ntmpfs /var/log tmpfs rw,failok 0 0\n'
const ROOT = { device: '/dev/ufs/found', type: 'ufs' }

describe('fstab merged', () => {
  test('keeps the root’s device and every other file system; swap is what was swap, encrypted', () => {
    const old =
      '# c\n/dev/gpt/root\t/\tufs\trw\t1\t1\n/dev/gpt/swap none swap sw,late 0 0\n/dev/gpt/tmp /tmp ufs rw 2 2\n/dev/da1p1 /data ufs rw 2 2\nmd99 none swap sw,file=/swap,late 0 0\n'
    assert.deepEqual(
      parseFstab(mergeFstab(old, TABLE, ROOT)).map(({ device, point, options }) => [device, point, options]),
      [
        ['/dev/gpt/root', '/', 'rw,noatime'],
        ['/dev/da1p1', '/data', 'rw,failok'],
        ['/dev/gpt/swap.eli', 'none', 'sw,late'],
        ['md99', 'none', 'sw,file=/swap,late'],
        ['tmpfs', '/tmp', 'rw,failok'],
        ['tmpfs', '/var/log', 'rw,failok'],
      ],
    )
  })
  test('without a root in the old one: the mounted device, and none on ZFS; never a swap that was none', () => {
    assert.match(mergeFstab(undefined, TABLE, ROOT), /^\/dev\/ufs\/found\t\/\tufs\trw,noatime\t1\t1$/m)
    const zfs = mergeFstab('', TABLE, { device: 'zroot/ROOT/default', type: 'zfs' })
    assert.doesNotMatch(zfs, /ada0|swap|zroot/)
  })
  test('a file system that the system does without cannot stop the start; /usr and /var are checked as before', () => {
    const old =
      '/dev/da1p1 /data ufs rw 2 2\n/dev/da2p1 /more ufs rw,failok,noauto 1 3\n/dev/ada0p4 /usr ufs rw 2 2\n/dev/ada0p5 /var ufs rw 2 2\n' +
      'home:/export /home nfs rw,tcp 0 0\nhome:/b /b nfs ro,bg 0 0\nproc /proc procfs rw 0 0\n'
    const lines = mergeFstab(old, TABLE, ROOT).split('\n')
    for (const line of [
      '/dev/da1p1 /data ufs rw,failok 2 0',
      '/dev/da2p1 /more ufs rw,failok,noauto 1 0',
      '/dev/ada0p4 /usr ufs rw 2 2',
      '/dev/ada0p5 /var ufs rw 2 2',
      'home:/export /home nfs rw,tcp,failok,bg 0 0',
      'home:/b /b nfs ro,bg,failok 0 0',
      'proc /proc procfs rw,failok 0 0',
    ])
      assert.ok(lines.includes(line.replaceAll(' ', '\t')), line)
  })
  for (const line of ['/dev/ada0p2 /', 'a b c d e f g', '/dev/x / ufs rw one 1', 'a b ufs rw\u0007 0 0'])
    test(`refuses ${JSON.stringify(line)}`, () => {
      assert.throws(() => mergeFstab(line, TABLE, ROOT), knoxError('refused', /fstab/))
    })
  test('for any table: one root, no swap that was none, nothing below a memory disk, nothing lost, and the same again', () => {
    const entry = fc.tuple(
      fc.constantFrom('/dev/ada0p2', '/dev/gpt/a', '/dev/da0p3.eli', 'md99', 'proc'),
      fc.constantFrom('/', '/tmp', '/tmp/x', '/var/log', '/var', '/data', '/tmpx'),
      fc.constantFrom('ufs', 'swap', 'procfs', 'msdosfs'),
    )
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 6 }), (rows) => {
        const old = rows.map((row) => `${row.join('\t')}\trw\t0\t0`).join('\n')
        const merged = mergeFstab(old, TABLE, ROOT)
        const after = parseFstab(merged)
        assert.equal(after.filter(({ point, type }) => point === '/' && type !== 'swap').length <= 1, true)
        for (const { device } of after.filter(({ type }) => type === 'swap'))
          assert.ok(rows.some(([was, , type]) => type === 'swap' && [was, `${was}.eli`].includes(device)))
        for (const { point, type, options, pass } of after)
          if (type !== 'swap' && ['/data', '/tmpx'].includes(point))
            assert.match(`${options} ${pass}`, /\bfailok\b.* 0$/)
        for (const [device, point, type] of rows)
          if (type !== 'swap' && ['/data', '/var', '/tmpx'].includes(point))
            assert.ok(after.some((line) => line.device === device && line.point === point))
        assert.ok(!after.some(({ point, type }) => point === '/tmp/x' && type !== 'swap'))
        assert.equal(mergeFstab(merged, TABLE, ROOT), merged)
      }),
    )
  })
})

test('a text without a name in common is only put above', () => {
  assert.equal(
    mergeSettings('/x', 'a="1"\n\n\n', 'b="2"\n', () => false),
    `a="1"\n${MARK}\nb="2"\n`,
  )
})

test('what a foreign file holds cannot move the cursor', () => {
  assert.equal(shownLine('a\tb\u001b[2J\r'), 'a\tb?[2J?')
})
