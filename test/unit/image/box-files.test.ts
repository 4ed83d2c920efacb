import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import type { OverlayFile } from '../../../provision/image/overlay.ts'
import { KNOWN_BRANCHES } from '../../../provision/image/releases.ts'
import { BOXES, linesOf, overlay, run, tempFolder, textIn } from './helpers.ts'

/** What FreeBSD will read: each file is parsed as its reader does, for every board and every release. */

const everyBox = Object.entries(BOXES).flatMap(([name, keys]) =>
  KNOWN_BRANCHES.map((release) => [`${name} with ${release}`, { ...keys, release }] as const),
)

/** Runs a check for every box and release; a failure names the one. */
const forEveryBox = async (
  check: (files: readonly OverlayFile[], keys: Record<string, unknown>) => unknown,
) => {
  for (const [name, keys] of everyBox) {
    try {
      await check(await overlay(keys), keys)
    } catch (error) {
      throw new Error(name, { cause: error })
    }
  }
}

const boardOf = (keys: Record<string, unknown>) => keys['board']

const mountsIn = (files: readonly OverlayFile[]) =>
  linesOf(textIn(files, '/etc/fstab')).map((line) => {
    const fields = line.split('\t')
    assert.equal(fields.length, 6, line)
    const [device = '', mountpoint = '', type = '', options = '', dump = '', pass = ''] = fields
    return { device, mountpoint, type, options: options.split(','), dump, pass }
  })

/** Assignments as rc and the loader read them: name="value", nothing else. */
const settingsIn = (text: string): ReadonlyMap<string, string> => {
  const pairs = linesOf(text).map((line) => {
    const match = /^([a-z0-9_.]+)="([^"\\$`]*)"$/i.exec(line)
    assert.ok(match, `not of the form name="value": ${line}`)
    return [match[1] ?? '', match[2] ?? ''] as const
  })
  assert.equal(new Set(pairs.map(([name]) => name)).size, pairs.length, 'a name stands twice')
  return new Map(pairs)
}

describe('fstab', () => {
  /** there on every FreeBSD; crochet makes /boot/msdos */
  const BASE = ['/', '/tmp', '/var', '/var/run', '/var/log', '/boot/msdos']

  test('every mount point exists, and no line but that of the root can stop the boot', () =>
    forEveryBox((files) => {
      const mounts = mountsIn(files)
      assert.deepEqual(mounts.map(({ mountpoint }) => mountpoint).filter((m) => m === '/').length, 1)
      for (const { mountpoint, type, options, pass, dump } of mounts) {
        if (mountpoint === '/') continue
        assert.equal(`${dump}${pass}`, '00', 'only the root is checked')
        if (type === 'swap') assert.equal(mountpoint, 'none')
        else {
          assert.ok(BASE.includes(mountpoint), mountpoint)
          assert.ok(options.includes('failok'), `${mountpoint} can stop the boot`)
        }
      }
    }))

  test('swap is encrypted, and what is not on a memory disk is the root or never mounted by itself', () =>
    forEveryBox((files) => {
      const mounts = mountsIn(files)
      const swap = mounts.filter(({ type }) => type === 'swap')
      assert.equal(swap.length, 1)
      assert.match(swap[0]?.device ?? '', /^\/dev\/[a-z0-9]+\.eli$/)
      for (const { mountpoint, type, options, device } of mounts)
        if (type !== 'swap' && type !== 'tmpfs' && mountpoint !== '/')
          assert.ok(options.includes('noauto') && options.includes('ro'), device)
    }))

  test('the root is read-only on the Pi; on a laptop it is not, and is checked', () =>
    forEveryBox((files, keys) => {
      const root = mountsIn(files).find(({ mountpoint }) => mountpoint === '/')
      assert.deepEqual(root?.options, boardOf(keys) === 'rpi-b' ? ['ro'] : ['rw', 'noatime'])
      assert.equal(root.pass, '1')
    }))

  test('/tmp is everybody’s; /var/run is a memory disk, and so is where the script keeps its pipe', () =>
    forEveryBox((files) => {
      const memory = mountsIn(files).filter(({ type }) => type === 'tmpfs')
      assert.ok(memory.find(({ mountpoint }) => mountpoint === '/tmp')?.options.includes('mode=1777'))
      for (const { options } of memory) assert.ok(options.some((o) => /^size=[0-9]+m$/.test(o)))
      const run = /^run=(\S+)/m.exec(textIn(files, BOX_SCRIPT))?.[1] ?? ''
      const under = (path: string) => memory.some(({ mountpoint }) => path.startsWith(`${mountpoint}/`))
      assert.ok(run.startsWith('/') && under(run), `the script works in ${run}`)
      for (const { path, content } of files) {
        assert.ok(!under(path), `${path} would be hidden by a memory disk`)
        if (typeof content === 'object' && 'linkTo' in content) assert.ok(under(content.linkTo))
      }
    }))

  test('a root that crochet did not partition has no boot slice in it', async () => {
    const devices = async (root: string) =>
      mountsIn(await overlay({ board: 'rpi-b', root, swap: 'da1s3' })).map(({ device }) => device)
    assert.ok((await devices('da1s2a')).includes('/dev/da1s1'))
    assert.ok(!(await devices('da1p2')).some((device) => /msdos|^\/dev\/(?!da1)/.test(device)))
  })

  test('the loader reads it by 127 bytes and looks for the root: no line is longer, the root comes first', () =>
    forEveryBox((files) => {
      const text = textIn(files, '/etc/fstab')
      for (const line of text.split('\n')) assert.ok(line.length < 127, line)
      assert.equal(mountsIn(files)[0]?.mountpoint, '/')
      for (const comment of text.split('\n').filter((line) => line.startsWith('#')))
        assert.doesNotMatch(comment, /\s\/\s/)
    }))
})

describe('rc.conf and loader.conf', () => {
  const rc = (files: readonly OverlayFile[]) => settingsIn(textIn(files, '/etc/rc.conf'))

  test('hold assignments only, and sh reads the very same values', async (t) => {
    const folder = await tempFolder(t)
    await forEveryBox(async (files) => {
      settingsIn(textIn(files, '/boot/loader.conf'))
      const path = join(folder, 'rc.conf')
      await writeFile(path, textIn(files, '/etc/rc.conf'))
      for (const shell of ['sh', 'busybox sh']) {
        const { code, stderr } = await run([...shell.split(' '), '-n', path])
        assert.deepEqual([code, stderr], [0, ''])
      }
      const settings = rc(files)
      const echo = [...settings.keys()].map((name) => `printf '%s\\n' "$${name}"`).join('; ')
      const { stdout } = await run(['env', '-i', 'sh', '-euc', `. ${path}; ${echo}`])
      assert.deepEqual(stdout.trimEnd().split('\n'), [...settings.values()])
    })
  })

  test('the pool is never imported by rc, its modules are there', () =>
    forEveryBox((files) => {
      assert.equal(rc(files).has('zfs_enable'), false)
      const loader = settingsIn(textIn(files, '/boot/loader.conf'))
      assert.equal(loader.get('zfs_load'), 'YES')
      assert.equal(loader.get('geom_eli_load'), 'YES')
      assert.equal(loader.has('vfs.zfs.vdev.cache.size'), false)
    }))

  test('sshd runs with the one key, the clock is set at once, nothing sends mail or dumps keys', () =>
    forEveryBox((files, keys) => {
      const settings = rc(files)
      for (const name of ['sshd', 'ntpd', 'powerd', 'fsck_y'])
        assert.equal(settings.get(`${name}_enable`), 'YES', name)
      assert.equal(settings.get('ntpd_sync_on_start'), 'YES')
      for (const type of ['rsa', 'dsa', 'ecdsa']) assert.equal(settings.get(`sshd_${type}_enable`), 'NO')
      assert.equal(
        settings.get('sshd_rsa1_enable'),
        /10\.|11\./.test(String(keys['release'])) ? 'NO' : undefined,
      )
      assert.equal(settings.has('sshd_ed25519_enable'), false)
      assert.equal(settings.get('sendmail_enable'), 'NONE')
      assert.equal(settings.get('dumpdev'), 'NO')
    }))

  test('a read-only root is never written: not remounted, no logs, no cron, no entropy for the next boot', () =>
    forEveryBox((files, keys) => {
      const off = ['root_rw_mount', 'syslogd_enable', 'newsyslog_enable', 'cron_enable', 'entropy_boot_file']
      for (const name of off)
        assert.equal(rc(files).get(name), boardOf(keys) === 'rpi-b' ? 'NO' : undefined, name)
      const entropy = files.some(({ path }) => path === '/entropy')
      assert.equal(entropy, boardOf(keys) === 'rpi-b')
    }))

  test('name, keymap and network are those of knox.yaml', async () => {
    const dhcp = rc(await overlay({ name: 'attic', keymap: 'uk', interface: 'bfe0', board: 'laptop' }))
    assert.deepEqual(
      ['hostname', 'keymap', 'ifconfig_bfe0', 'defaultrouter'].map((name) => dhcp.get(name)),
      ['attic', 'uk', 'DHCP', undefined],
    )
    const fixed = rc(await overlay({ network: { address: '10.1.2.3/24', gateway: '10.1.2.1' } }))
    assert.equal(fixed.get('ifconfig_ue0'), 'inet 10.1.2.3/24')
    assert.equal(fixed.get('defaultrouter'), '10.1.2.1')
  })

  test('the kernel’s memory is bound on 10.x only, ZFS everywhere', async () => {
    const memory = async (board: string, release: string) => {
      const loader = settingsIn(textIn(await overlay({ board, release }), '/boot/loader.conf'))
      return ['vm.kmem_size', 'vm.kmem_size_max', 'vfs.zfs.arc_max'].map((name) => loader.get(name))
    }
    assert.deepEqual(await memory('rpi-b', 'releng/10.2'), ['180M', '180M', '24M'])
    assert.deepEqual(await memory('laptop', 'releng/10.4'), ['150M', '150M', '32M'])
    assert.deepEqual(await memory('laptop', 'releng/13.2'), [undefined, undefined, '64M'])
  })
})

describe('ttys and crontab', () => {
  test('single-user mode asks for a password; the Pi has no terminal, the laptop one (facts 11.33)', () =>
    forEveryBox((files, keys) => {
      const [console, ...others] = linesOf(textIn(files, '/etc/ttys')).map((line) => line.split('\t'))
      assert.deepEqual(console, ['console', 'none', 'unknown', 'off', 'insecure'])
      const getty = ['ttyv1', '"/usr/libexec/getty Pc"', 'xterm', 'on', 'secure']
      assert.deepEqual(others, boardOf(keys) === 'laptop' ? [getty] : [])
    }))

  test('cron sends no mail and starts nothing that writes to a disk', () =>
    forEveryBox((files, keys) => {
      const lines = linesOf(textIn(files, '/etc/crontab'))
      assert.equal(lines[0], 'MAILTO=""')
      const jobs = lines.filter((line) => !/^[A-Z]+=/.test(line))
      assert.deepEqual(jobs, boardOf(keys) === 'laptop' ? ['0\t*\t*\t*\t*\troot\tnewsyslog'] : [])
    }))
})
