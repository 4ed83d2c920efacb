import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { KnoxError } from '../../../provision/core/errors.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { checksOf, remarksOf } from '../../../provision/runtime/adopt-checks.ts'
import { describeChange, unifiedDiff } from '../../../provision/runtime/adopt-diff.ts'
import { parseLook, type Found, type Machine } from '../../../provision/runtime/adopt-look.ts'
import { boxOn, changedFiles, planAdoption, type WantedFile } from '../../../provision/runtime/adopt-plan.ts'
import { keepFolder, uploads } from '../../../provision/runtime/adopt.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { knoxError } from '../../support/expect.ts'

const answer = (changes: Readonly<Record<string, string>> = {}, files = ''): string => {
  const sections = {
    system: 'FreeBSD',
    uid: '0',
    version: '13.2-RELEASE-p4',
    machine: 'amd64',
    mounts: '/dev/ada0p2\t/\tufs\trw\t1 1',
    memory: '2121412608',
    route: 'em0',
    password: 'set',
    undecided: '',
    overrides: '',
    ...changes,
  }
  const lines = Object.entries(sections).map(([name, text]) => `== ${name}\n${text}\n`)
  return `Welcome to FreeBSD!\n${lines.join('')}${files}== end\n`
}

const fileSection = (path: string, text: string) =>
  `== file ${path}\n ${Buffer.from(text).toString('hex').replace(/(..)/g, '$1 ')}\n`

describe('what a machine answers', () => {
  test('is read, with its files', () => {
    const files = `${fileSection('/etc/rc.conf', 'a="ä"\n')}== link /etc/resolv.conf\n/var/run/x\n== other /etc/ttys\n== file /etc/empty\n`
    const machine = parseLook(answer({}, files))
    assert.deepEqual(
      [machine.version, machine.interface, machine.root.device],
      ['13.2', 'em0', '/dev/ada0p2'],
    )
    const found = machine.files.get('/etc/rc.conf')
    assert.equal(found?.kind === 'file' && found.bytes.toString(), 'a="ä"\n')
    assert.deepEqual(machine.files.get('/etc/resolv.conf'), { kind: 'link', to: '/var/run/x' })
    assert.deepEqual(machine.files.get('/etc/ttys'), { kind: 'other' })
    assert.deepEqual(machine.files.get('/etc/empty'), { kind: 'file', bytes: Buffer.alloc(0) })
  })
  for (const [what, changes, code] of [
    ['Linux', { system: 'Linux' }, 'platform'],
    ['10.1', { version: '10.1-RELEASE' }, 'platform'],
    ['9.3', { version: '9.3-RELEASE' }, 'platform'],
    ['a version that is none', { version: '\u001b[2J' }, 'platform'],
    ['a machine knox does not know', { machine: 'sparc64' }, 'platform'],
    ['a user without rights', { uid: '1001' }, 'refused'],
    ['a word for the password', { password: '$6$hash' }, 'failed'],
    ['memory that is no number', { memory: 'much' }, 'failed'],
  ] as const)
    test(`refuses ${what}`, () => {
      assert.throws(() => parseLook(answer(changes)), knoxError(code))
    })
  test('10.2 and 15.0 are taken', () => {
    for (const version of ['10.2-RELEASE-p9', '10.2-STABLE', '15.0-CURRENT']) parseLook(answer({ version }))
  })
  test('an answer that was cut off is never taken for a whole one, and nothing else is thrown', () => {
    const whole = answer({}, fileSection('/etc/rc.conf', 'a="1"\n'))
    fc.assert(
      fc.property(fc.nat(whole.length - 6), (length) => {
        assert.throws(() => parseLook(whole.slice(0, length)), KnoxError)
      }),
    )
    fc.assert(
      fc.property(fc.string(), fc.string(), (start, end) => {
        try {
          parseLook(`${start}\n${answer({}, `== file /etc/rc.conf\n${end}\n`)}`)
        } catch (error) {
          assert.ok(error instanceof KnoxError)
        }
      }),
    )
  })
})

const machineWith = (files: readonly (readonly [string, string])[], changes = {}): Machine => ({
  ...parseLook(answer(changes)),
  files: new Map(
    files.map(([path, text]): [string, Found] => [path, { kind: 'file', bytes: Buffer.from(text) }]),
  ),
})

const text = (path: string, content: string): WantedFile => ({ path, mode: 0o644, content })
const SSHD = '/etc/ssh/sshd_config'
const OVERLAY: readonly WantedFile[] = [
  text('/etc/crontab', 'MAILTO=""\n'),
  text('/etc/fstab', '/dev/ada0p2 / ufs ro 1 1\ntmpfs /tmp tmpfs rw 0 0\n'),
  text('/etc/hostid', 'ours\n'),
  text('/etc/rc.conf', 'ntpd_enable="YES"\npowerd_enable="YES"\nifconfig_em0="DHCP"\n'),
  { path: '/etc/resolv.conf', mode: 0o777, content: { linkTo: '/var/run/resolv.conf' } },
  text('/etc/resolvconf.conf', 'x=1\n'),
  { path: '/etc/ssh/ssh_host_ed25519_key', mode: 0o600, content: new Secret('host key', 'PRIVATE') },
  text(SSHD, '# knox\n'),
  text('/etc/ttys', 'console none unknown off insecure\n'),
]
const BOX = { disk: 'da0', pool: 'wd' }
const pathsOf = (files: readonly WantedFile[]) => files.map(({ path }) => path)

test('a PC is no Raspberry Pi, whatever knox.yaml says', () => {
  const { box } = parseConfig('box: {addresses: [a.b]}\nhome: {pool: wd}\n', 'f')
  const boardOn = (machine: string) => boxOn(box, machineWith([], { machine })).board
  assert.deepEqual(['amd64', 'i386', 'arm', 'arm64'].map(boardOn), ['laptop', 'laptop', 'rpi-b', 'rpi-b'])
})

describe('the plan', () => {
  test('sshd_config comes last, and all of the overlay is in it', () => {
    const { files } = planAdoption(machineWith([]), OVERLAY, BOX)
    assert.equal(files.at(-1)?.path, SSHD)
    assert.deepEqual([...pathsOf(files)].sort(), [...pathsOf(OVERLAY)].sort())
  })
  test('a machine keeps its own hostid', () => {
    const { files } = planAdoption(machineWith([['/etc/hostid', 'theirs\n']]), OVERLAY, BOX)
    assert.ok(!pathsOf(files).includes('/etc/hostid'))
  })
  test('without DHCP the name servers stay', () => {
    const fixed = planAdoption(
      machineWith([['/etc/rc.conf', 'ifconfig_em0="inet 1.2.3.4/8"\n']]),
      OVERLAY,
      BOX,
    )
    assert.ok(!pathsOf(fixed.files).some((path) => path.includes('resolv')))
    const dhcp = planAdoption(machineWith([['/etc/rc.conf', 'ifconfig_em0="DHCP"\n']]), OVERLAY, BOX)
    assert.ok(pathsOf(dhcp.files).includes('/etc/resolv.conf'))
  })
  test('only what will be other is shown; a private file always', () => {
    const plan = planAdoption(machineWith([['/etc/crontab', 'MAILTO=""\n']]), OVERLAY, BOX)
    const changed = pathsOf(changedFiles(plan))
    assert.ok(!changed.includes('/etc/crontab'))
    assert.ok(changed.includes('/etc/ssh/ssh_host_ed25519_key'))
  })
  test('a folder in a file’s place is refused, an undecided run is waited for', () => {
    const folder: Machine = { ...machineWith([]), files: new Map([[SSHD, { kind: 'other' } as const]]) }
    assert.throws(() => planAdoption(folder, OVERLAY, BOX), knoxError('refused', /not a file/))
    const undecided = { undecided: '/root/knox-before/20260101T000000Z' }
    assert.throws(() => planAdoption(machineWith([], undecided), OVERLAY, BOX), knoxError('busy', /20260101/))
  })
  test('warns of what could win over knox’s files', () => {
    const machine = machineWith(
      [
        ['/etc/rc.conf', 'sshd_flags="-p 99"\n'],
        [SSHD, 'Include /etc/ssh/more\n'],
      ],
      { overrides: '/etc/rc.conf.local', password: 'locked' },
    )
    const { warnings } = planAdoption(machine, OVERLAY, BOX)
    for (const word of ['rc.conf.local', 'sshd_flags', 'Include', 'locked'])
      assert.ok(
        warnings.some((warning) => warning.includes(word)),
        word,
      )
  })
})

test('a pool of the name that knox exports after each session is refused', () => {
  const on = (pools: string) => planAdoption(machineWith([], { pools }), OVERLAY, BOX)
  on('zroot\nwd2')
  assert.throws(() => on('zroot\nwd'), knoxError('refused', /a pool wd is in use.*box\.pool/s))
})

test('the keymap stays, unless knox.yaml names one', () => {
  const overlay = [text('/etc/rc.conf', 'keymap="us"\n')]
  const rcConf = (old: string, box: object = {}) => {
    const { files } = planAdoption(machineWith([['/etc/rc.conf', old]]), overlay, { ...BOX, ...box })
    const content = files[0]?.content
    return typeof content === 'string' ? content : ''
  }
  assert.match(rcConf('keymap="de"\n'), /^keymap="de"\n[^=]*$/)
  assert.match(rcConf('keymap="de"\n', { keymap: 'us' }), /^[^=]*\nkeymap="us"\n$/)
  assert.match(rcConf('a="1"\n'), /\nkeymap="us"\n$/)
})

test('no memory disk comes where ZFS mounts a file system of its own over it, and that is said', () => {
  const mounts = 'zroot/ROOT/default\t/\tzfs\trw 0 0\nzroot/tmp\t/tmp\tzfs\trw 0 0'
  const { files, warnings } = planAdoption(machineWith([], { mounts }), OVERLAY, BOX)
  const fstab = files.find(({ path }) => path === '/etc/fstab')?.content
  assert.doesNotMatch(typeof fstab === 'string' ? fstab : '/tmp', /\/tmp/)
  assert.match(warnings.join('\n'), /\/tmp stays on zroot\/tmp/)
})

describe('warns of what nobody is there to answer or mend', () => {
  const warningsOf = (fstab: string, changes = {}) =>
    planAdoption(machineWith([['/etc/fstab', fstab]], changes), OVERLAY, BOX).warnings.join('\n')
  for (const [what, fstab, pattern] of [
    ['a passphrase at the start', '/dev/ada0p2.eli / ufs rw 1 1\n', /\/dev\/ada0p2\.eli.*passphrase/],
    ['one for data', '/dev/ada0p7.eli /data ufs rw 2 2\n', /\/dev\/ada0p7\.eli.*passphrase/],
    ['NFS', 'home:/x /x nfs rw 0 0\n', /home:\/x.*not be there/],
    ['the disk that is to hold the backup', '/dev/da0p1 /data ufs rw 2 2\n', /\/dev\/da0p1.*prepare-disk/],
  ] as const)
    test(what, () => {
      assert.match(warningsOf(fstab), pattern)
    })
  test('and of nothing else', () => {
    const usual = '/dev/ada0p2 / ufs rw 1 1\n/dev/ada0p3.eli none swap sw 0 0\n/dev/da01 /x ufs rw 2 2\n'
    assert.equal(warningsOf(usual), '')
    const zfs = warningsOf('', { mounts: 'zroot/ROOT/default\t/\tzfs\trw 0 0' })
    assert.equal(zfs, '')
    assert.match(warningsOf('', { mounts: '/dev/ada0p2.eli\t/\tufs\trw 1 1' }), /passphrase/)
  })
})

test('warns of a network that ends at the front door', () => {
  const machine = machineWith([
    ['/etc/rc.conf', 'ifconfig_em0="inet 192.168.1.13/24"\n'],
    [SSHD, 'ListenAddress 192.168.1.13\n'],
  ])
  const { warnings } = planAdoption(machine, OVERLAY, BOX)
  assert.match(warnings.join('\n'), /^rc\.conf gives em0 a fixed .*\nsshd_config listens at 192\.168\.1\.13,/)
})

describe('what is shown and sent', () => {
  test('a difference is unified, under the files’ names, and harmless to a terminal', async () => {
    const shown = await unifiedDiff(
      { label: 'a', text: 'x\n\u001b[2Jold\n' },
      { label: 'b', text: 'x\nnew\n' },
    )
    assert.equal(shown, '--- a\n+++ b\n@@ -1,2 +1,2 @@\n x\n-?[2Jold\n+new')
    assert.equal(await unifiedDiff({ label: 'a', text: 'x\n' }, { label: 'b', text: 'x\n' }), '')
  })
  test('a private file is named, not shown, and goes by stdin only', async () => {
    const { files } = planAdoption(machineWith([]), OVERLAY, BOX)
    const shown = (await Promise.all(files.map(describeChange))).join('\n')
    assert.match(shown, /new: \/etc\/ssh\/ssh_host_ed25519_key \(mode 0600, private, not shown\)/)
    assert.doesNotMatch(shown, /PRIVATE/)
    const commands = await uploads('/root/knox-before/x', files)
    assert.doesNotMatch(JSON.stringify(commands), /PRIVATE/)
    // csh reads them: one line, no history, no substitution of its own
    for (const { argv } of commands) assert.doesNotMatch(argv.join(' '), /[\n!`]/)
  })
  test('the folder is named after the time', () => {
    assert.equal(keepFolder(new Date('2026-11-23T22:00:01.5Z')), '/root/knox-before/20261123T220001Z')
  })
})

describe('the checks after the restart', () => {
  const { files } = planAdoption(machineWith([]), OVERLAY, BOX)
  const asWritten: Machine = {
    ...machineWith([]),
    files: new Map(
      files.map(({ path, content }): [string, Found] => {
        if (typeof content === 'string') return [path, { kind: 'file', bytes: Buffer.from(content) }]
        if (content instanceof Secret) return [path, { kind: 'file', bytes: Buffer.alloc(0) }]
        return [path, { kind: 'link', to: content.linkTo }]
      }),
    ),
  }
  const running = {
    mounts: [
      { point: '/', type: 'ufs', options: ['ro'] },
      { point: '/tmp', type: 'tmpfs', options: ['rw'] },
    ],
    swap: ['/dev/ada0p3.eli'],
    processes: ['init', 'ntpd', 'powerd'],
  }
  const bad = (change: object, machine = asWritten) =>
    checksOf(files, { ...running, ...change }, machine)
      .filter(({ ok }) => !ok)
      .map(({ what }) => what)
  test('all is well', () => {
    assert.deepEqual(bad({}), [])
    assert.deepEqual(remarksOf(files, running), [])
  })
  test('what is mounted over a memory disk is seen', () => {
    const over = { point: '/tmp', type: 'zfs', options: ['rw'] }
    assert.deepEqual(bad({ mounts: [...running.mounts, over] }), ['/tmp is a memory disk'])
    assert.deepEqual(bad({ mounts: [running.mounts[0], over, running.mounts[1]] }), [])
  })
  test('each promise is found broken by itself', () => {
    assert.deepEqual(bad({ mounts: [{ point: '/', type: 'ufs', options: ['rw'] }, running.mounts[1]] }), [
      'the root is mounted read-only',
    ])
    assert.deepEqual(bad({ mounts: [running.mounts[0]] }), ['/tmp is a memory disk'])
    assert.deepEqual(bad({ swap: ['/dev/ada0p3'] }), ['no swap in the clear'])
    assert.deepEqual(bad({ processes: ['ntpd', 'getty'] }), ['0 logins at the console'])
    assert.deepEqual(bad({ processes: [] }), ['the clock is kept (ntpd)'])
    assert.deepEqual(bad({}, { ...asWritten, password: 'empty' }), ['root’s password is none or set'])
    const other = new Map([
      ...asWritten.files,
      ['/etc/crontab', { kind: 'file', bytes: Buffer.from('x') }] as const,
    ])
    assert.deepEqual(bad({}, { ...asWritten, files: other }), ['/etc/crontab is as written'])
    assert.equal(remarksOf(files, { ...running, processes: [] }).length, 1)
  })
})
