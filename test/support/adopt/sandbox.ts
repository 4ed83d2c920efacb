import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { exists } from '../../../provision/system/files.ts'
import { ended, type Ran } from '../child.ts'
import { tempFolder } from '../expect.ts'

/** A machine to adopt: this one in namespaces of its own, with a real sshd on loopback and stand-ins for FreeBSD's programs. */

const HERE = import.meta.dirname
const KNOX = resolve(HERE, '../../../scripts/knox.mjs')
const PROGRAMS = 'uname freebsd-version sysctl route mount swapinfo ps pw fsync service mv shutdown'.split(
  ' ',
)

/** Why there can be no sandbox here; undefined if there can. */
export const noSandbox = (): string | undefined => {
  if (process.getuid?.() !== 0) return 'needs root'
  const tried = spawnSync('unshare', ['-m', '-p', '-f', '--mount-proc', 'true'])
  if (tried.status !== 0) return 'needs mount namespaces (unshare)'
  const sshd = spawnSync('/usr/sbin/sshd', ['-V'], { encoding: 'utf8' })
  return sshd.error === undefined ? undefined : 'needs /usr/sbin/sshd'
}

const freePort = (): Promise<number> =>
  new Promise((done) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => done(port))
    })
  })

const OLD_SSHD = (port: number) =>
  `Port ${port}\nListenAddress 127.0.0.1\nPermitRootLogin yes\nUsePAM no\nUseDNS no\nAuthorizedKeysFile /root/.ssh/authorized_keys\n`

/** /dev/zero and /dev/full stand for its disk: fstab’s devices must be there */
export const OLD = {
  'etc/fstab':
    '# Device\tMountpoint\tFStype\tOptions\tDump\tPass#\n/dev/zero\t/\tufs\trw\t1\t1\n/dev/full\tnone\tswap\tsw\t0\t0\n',
  'etc/rc.conf': 'hostname="old"\nifconfig_em0="DHCP"\nsshd_enable="YES"\nmoused_enable="YES"\n',
  'etc/ttys': 'console\tnone\tunknown\toff secure\nttyv0\t"/usr/libexec/getty Pc"\txterm\ton secure\n',
  'boot/loader.conf': 'kern.geom.label.disk_ident.enable="0"\nautoboot_delay="9"\n',
} as const

export interface Sandbox {
  readonly dir: string
  readonly port: number
  /** a file of the machine as it is now; undefined if there is none */
  readonly file: (path: string) => Promise<string | undefined>
  readonly start: (...words: string[]) => ChildProcess
  readonly knox: (...words: string[]) => Promise<Ran>
  /** exit code of ssh by the old way, the owner’s plain key */
  readonly oldWay: (command?: string) => Promise<Ran>
  /** and by knox-send’s certificate: a session says hello */
  readonly newWay: () => Promise<boolean>
}

export const PASSPHRASE = 'a passphrase for tests'

const prepareMachine = async (dir: string, port: number): Promise<void> => {
  for (const folder of ['etc/ssh', 'work', 'root/.ssh', 'boot', 'bin'])
    await mkdir(join(dir, folder), { recursive: true })
  await chmod(join(dir, 'root'), 0o700)
  for (const program of PROGRAMS) {
    await copyFile(join(HERE, 'programs.sh'), join(dir, 'bin', program))
    await chmod(join(dir, 'bin', program), 0o755)
  }
  for (const [path, text] of Object.entries(OLD)) await writeFile(join(dir, path), text)
  await writeFile(join(dir, 'etc/ssh/sshd_config'), OLD_SSHD(port))
  await writeFile(join(dir, 'etc/crontab'), '*/5 * * * * root /usr/libexec/atrun\n')
  const shell = (await exists('/usr/bin/csh')) ? '/usr/bin/csh' : '/bin/sh'
  const passwd = await readFile('/etc/passwd', 'utf8')
  await writeFile(join(dir, 'etc/passwd'), passwd.replace(/^(root:.*:)[^:]*$/m, `$1${shell}`))
  const shadow = await readFile('/etc/shadow', 'utf8')
  await writeFile(join(dir, 'etc/shadow'), shadow.replace(/^root:[^:]*:/m, 'root:*:'), { mode: 0o600 })
  const state = {
    system: 'FreeBSD\n',
    version: '13.2-RELEASE-p4\n',
    boottime: '1000\n',
    password: '$6$salt$hash\n',
    mounts: '/dev/zero\t\t/\tufs\trw\t1 1\ndevfs\t/dev\tdevfs\trw\t0 0\n',
    swap: 'Device          1K-blocks     Used    Avail Capacity\n/dev/full  1 0 1 0%\n',
    'mounts.next':
      '/dev/zero / ufs rw,noatime 1 1\ntmpfs /tmp tmpfs rw 0 0\ntmpfs /var/run tmpfs rw 0 0\ntmpfs /var/log tmpfs rw 0 0\n',
    'swap.next': 'Device          1K-blocks     Used    Avail Capacity\n/dev/full.eli  1 0 1 0%\n',
  }
  for (const [name, text] of Object.entries(state)) await writeFile(join(dir, 'root', `.${name}`), text)
  const keygen = ['-q', '-t', 'ed25519', '-N', '']
  spawnSync('ssh-keygen', [...keygen, '-f', join(dir, 'id')])
  spawnSync('ssh-keygen', [...keygen, '-f', join(dir, 'etc/ssh/ssh_host_ed25519_key')])
  await copyFile(join(dir, 'id.pub'), join(dir, 'root/.ssh/authorized_keys'))
}

const prepareHome = async (dir: string, port: number): Promise<void> => {
  const home = join(dir, 'home')
  await mkdir(home, { recursive: true })
  const box = `box:\n  addresses: ['127.0.0.1:${port}']\n  board: laptop\n  interface: bfe0\n`
  await writeFile(join(home, 'knox.yaml'), `${box}home:\n  pool: wd\n  folder: ${home}/keys\n`)
  await writeFile(join(home, 'passphrase'), PASSPHRASE, { mode: 0o600 })
  await writeFile(
    join(dir, 'ssh_config'),
    `Host *\n  IdentityFile ${dir}/id\n  IdentitiesOnly yes\n  UserKnownHostsFile ${dir}/known_hosts\n  StrictHostKeyChecking no\n  LogLevel ERROR\n`,
  )
}

/** Starts one; it is gone after the test. `before` changes the machine’s files first. */
export const startSandbox = async (
  t: TestContext,
  before: (dir: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<Sandbox> => {
  const dir = await tempFolder(t)
  await chmod(dir, 0o755)
  const port = await freePort()
  await prepareMachine(dir, port)
  await prepareHome(dir, port)
  await before(dir)
  const words = ['-m', '-p', '-f', '--mount-proc', '--kill-child', '/bin/sh', join(HERE, 'start.sh'), dir]
  const machine = spawn('unshare', words, { stdio: ['ignore', 'inherit', 'inherit'] })
  const gone = new Promise((done) => machine.on('close', done))
  t.after(async () => {
    machine.kill('SIGKILL')
    await gone
  })
  for (let i = 0; i < 200 && !(await exists(join(dir, 'ready'))); i += 1) await sleep(50)
  const cwd = join(dir, 'home')
  const start = (...given: string[]) =>
    spawn(process.execPath, [KNOX, ...given], {
      cwd,
      env: { ...process.env, HOME: cwd },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 400_000,
    })
  const knox = (...given: string[]) => ended(start(...given))
  const made = await knox('keys', 'init', '--passphrase-file', 'passphrase')
  if (made.code !== 0) throw new Error(made.stderr)
  const ssh = (given: readonly string[]) =>
    ended(spawn('ssh', [...given], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 }))
  const direct = [
    '-o',
    'ControlPath=none',
    '-o',
    'BatchMode=yes',
    '-o',
    'ConnectTimeout=5',
    '-p',
    port.toString(),
  ]
  return {
    dir,
    port,
    file: (path) => {
      const [top = '', ...rest] = path.slice(1).split('/')
      return readFile(join(dir, top, ...rest), 'utf8').catch(() => undefined)
    },
    start,
    knox,
    oldWay: (command = 'true') => ssh(['-F', join(dir, 'ssh_config'), ...direct, 'root@127.0.0.1', command]),
    newWay: async () => {
      const { stdout } = await ssh([
        '-F',
        join(cwd, 'keys/ssh_config'),
        ...direct,
        '-o',
        'HostName=127.0.0.1',
        'knox-send',
      ])
      return stdout.startsWith('knox 1 ')
    },
  }
}

/** The machine’s files are what they were, and its owner gets in as before. */
export const assertAsBefore = async (box: Sandbox): Promise<void> => {
  // the line for the next start goes last of all
  for (let i = 0; i < 100 && (await exists(join(box.dir, 'etc/rc.local'))); i += 1) await sleep(100)
  for (const [path, text] of Object.entries(OLD)) assert.equal(await box.file(`/${path}`), text, path)
  for (const path of ['/etc/ssh/knox-ca', '/etc/rc.local', '/root/knox-zfs-receive.sh', '/etc/hostid'])
    assert.equal(await exists(join(box.dir, path)), false, path)
  assert.match((await box.file('/etc/ssh/sshd_config')) ?? '', /PermitRootLogin yes/)
  assert.equal((await box.oldWay()).code, 0)
}

/** How knox adopt is called in these tests. */
export const adoptWords = ({ port }: Sandbox, ...more: string[]): readonly string[] => [
  ...['adopt', `127.0.0.1:${port}`, '--ssh-config', '../ssh_config', '--passphrase-file', 'passphrase'],
  ...(more.includes('--undo-after') ? [] : ['--undo-after', '200']),
  ...more,
]
