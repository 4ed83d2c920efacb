import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { certificateLine, signCertificate, type Certificate } from '../../../provision/keys/certificate.ts'
import { makeKeyPair, type KeyPair } from '../../../provision/keys/ed25519.ts'
import { publicKeyLine, readPublicKeyLine } from '../../../provision/keys/public-key.ts'
import { initKeys, unlockPrivateKey } from '../../../provision/keys/key-folder.ts'
import { readPrivateKey } from '../../../provision/keys/private-key.ts'
import { FOREVER } from '../../../provision/keys/validity.ts'
import { NOW, passphrase, run, type Ran } from './helpers.ts'

/** A real sshd and a real ssh judge the certificates: the box's settings, on a port of the loopback interface. */

const SSHD = '/usr/sbin/sshd'
const why = (): string | false => {
  if (process.getuid?.() !== 0) return 'needs root, to log in as root'
  return existsSync(SSHD) ? false : `there is no ${SSHD} here`
}
const skip = why()

const children: ChildProcess[] = []
const start = (argv: readonly string[]): ChildProcess => {
  const [file = '', ...args] = argv
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  children.push(child)
  return child
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })

const until = async (what: string, ready: () => Promise<boolean> | boolean): Promise<void> => {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (await ready()) return
    await sleep(50)
  }
  assert.fail(`${what} did not come up`)
}

const sshdConfig = (folder: string, port: number): string =>
  [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${folder}/keys/ssh_host_ed25519_key`,
    `TrustedUserCAKeys ${folder}/keys/knox-ca.pub`,
    `RevokedKeys ${folder}/revoked`,
    'PidFile none',
    'AuthorizedKeysFile none',
    'PermitRootLogin without-password',
    'PasswordAuthentication no',
    'UsePAM no',
    'PrintMotd no',
    'LogLevel VERBOSE',
    '',
  ].join('\n')

describe('a real sshd', { skip }, () => {
  let folder = ''
  let port = 0
  /** what sshd says */
  let log = ''
  let ca: KeyPair

  const path = (...names: string[]) => join(folder, ...names)

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
    await initKeys(path('keys'), { boxName: 'knox', passphrase, force: false, now: NOW })
    ca = readPrivateKey(new Secret('ca', await readFile(path('keys', 'knox-ca'))), 'knox-ca', passphrase)
    const hostKey = await readFile(path('keys', 'ssh_host_ed25519_key.pub'), 'utf8')
    await writeFile(path('known_hosts'), `knox ${hostKey}`)
    await writeFile(path('forced'), '#!/bin/sh\necho "forced $1, asked for: $SSH_ORIGINAL_COMMAND"\ntty\n', {
      mode: 0o755,
    })
    await writeFile(path('revoked'), '')
    await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
    for (let attempt = 0; attempt < 3; attempt += 1) {
      port = await freePort()
      await writeFile(path('sshd_config'), sshdConfig(folder, port))
      const sshd = start([SSHD, '-D', '-e', '-f', path('sshd_config')])
      sshd.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text))
      await until('sshd', async () => sshd.exitCode !== null || (await answers(port)))
      if (sshd.exitCode === null) return
    }
    assert.fail('sshd does not start')
  })

  after(async () => {
    const running = children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
    const ended = running.map((child) => once(child, 'close'))
    for (const child of running) child.kill('SIGTERM')
    await Promise.all(ended)
    await rm(folder, { recursive: true, force: true })
  })

  /** ssh with nothing but this key, this certificate and the host key that `keys init` made. */
  const ssh = (identity: string, words: readonly string[], command: string): Promise<Ran> => {
    const options = [
      'User=root',
      'HostKeyAlias=knox',
      'StrictHostKeyChecking=yes',
      'HostKeyAlgorithms=ssh-ed25519',
      `UserKnownHostsFile=${path('known_hosts')}`,
      'GlobalKnownHostsFile=/dev/null',
      'IdentitiesOnly=yes',
      `IdentityFile=${identity}`,
      'BatchMode=yes',
    ]
    const flags = options.flatMap((option) => ['-o', option])
    return run(['ssh', '-F', 'none', '-p', port.toString(), ...words, ...flags, '127.0.0.1', command])
  }

  /** The key of knox-send under another name, with a certificate of these terms beside it. */
  const withCertificate = async (name: string, terms: Partial<Certificate>, signer: KeyPair = ca) => {
    await copyFile(path('keys', 'knox-send'), path(name))
    const publicKey = readPublicKeyLine(await readFile(path('keys', 'knox-send.pub'), 'utf8'), 'it')
    const certificate: Certificate = {
      publicKey,
      serial: 99n,
      keyId: name,
      principals: ['root'],
      validity: FOREVER,
      forcedCommand: undefined,
      sourceAddress: [],
      extensions: [],
      ...terms,
    }
    await writeFile(path(`${name}-cert.pub`), certificateLine(signCertificate(certificate, signer), name))
    return path(name)
  }

  const refused = ({ code, stdout, stderr }: Ran) => {
    assert.equal(code, 255)
    assert.equal(stdout, '')
    assert.match(stderr, /Permission denied \(publickey/)
  }

  test('a certificate of the CA opens a shell', async () => {
    const { code, stdout } = await ssh(await withCertificate('plain', {}), [], 'echo hello')
    assert.deepEqual([code, stdout], [0, 'hello\n'])
  })

  test('knox-send and knox-fifo run the box’s script, whatever the client asks for', async (t) => {
    if (existsSync(BOX_SCRIPT)) {
      t.skip(`${BOX_SCRIPT} exists on this machine and would run`)
      return
    }
    for (const [login, word] of [
      ['knox-send', 'session'],
      ['knox-fifo', 'key'],
    ] as const) {
      const { code, stdout } = await ssh(path('keys', login), [], 'echo hello')
      assert.deepEqual([code, stdout], [127, ''])
      assert.ok(log.includes(`forced-command (key-option) '${BOX_SCRIPT} ${word}' for root`), log)
      assert.match(log, new RegExp(`Accepted publickey .* ID ${login} \\(serial [23]\\) CA ED25519`))
    }
  })

  test('a forced command gets its argument; the client’s command is only told to it', async () => {
    const identity = await withCertificate('forced-key', { forcedCommand: `${path('forced')} key` })
    const { stdout } = await ssh(identity, [], 'cat /etc/passwd; reboot')
    assert.equal(stdout, 'forced key, asked for: cat /etc/passwd; reboot\nnot a tty\n')
  })

  test('a clear certificate gets no terminal', async () => {
    const identity = await withCertificate('clear', { forcedCommand: path('forced') })
    const { stdout, stderr } = await ssh(identity, ['-tt'], '')
    assert.equal(stdout, '')
    assert.match(stderr, /PTY allocation request failed/)
  })

  test('a clear certificate forwards nothing', async () => {
    const identity = await withCertificate('no-forwarding', {})
    const { code, stderr } = await ssh(identity, ['-W', `127.0.0.1:${port}`], '')
    assert.notEqual(code, 0)
    assert.match(stderr, /prohibited|forwarding/)
  })

  test('a plain key without certificate is refused', async () => {
    await copyFile(path('keys', 'knox-send'), path('bare'))
    refused(await ssh(path('bare'), [], 'echo hello'))
  })

  test('a certificate of another CA is refused', async () => {
    refused(await ssh(await withCertificate('foreign', {}, makeKeyPair()), [], 'echo hello'))
  })

  test('a certificate that has expired, or is not yet valid, is refused', async () => {
    const now = BigInt(Math.floor(Date.now() / 1000))
    const expired = await withCertificate('expired', { validity: { after: 0n, before: now - 60n } })
    refused(await ssh(expired, [], 'echo hello'))
    const early = await withCertificate('early', { validity: { after: now + 3600n, before: now + 7200n } })
    refused(await ssh(early, [], 'echo hello'))
    const limited = await withCertificate('limited', { validity: { after: 0n, before: now + 3600n } })
    assert.equal((await ssh(limited, [], 'echo hello')).stdout, 'hello\n')
  })

  test('a certificate for somebody else, or for nobody, is refused', async () => {
    refused(await ssh(await withCertificate('other', { principals: ['daemon'] }), [], 'echo hello'))
    refused(await ssh(await withCertificate('nobody', { principals: [] }), [], 'echo hello'))
  })

  test('a certificate is refused from outside its source addresses', async () => {
    const outside = await withCertificate('outside', { sourceAddress: ['10.0.0.0/8', '2001:db8::/32'] })
    refused(await ssh(outside, [], 'echo hello'))
    const inside = await withCertificate('inside', { sourceAddress: ['10.0.0.0/8', '127.0.0.0/8'] })
    assert.equal((await ssh(inside, [], 'echo hello')).stdout, 'hello\n')
  })

  test('a certificate of a revoked serial is refused, by the list that docs/keys.md makes; without a list all are', async () => {
    const page = await readFile(new URL('../../../docs/keys.md', import.meta.url), 'utf8')
    const [, block = ''] = /```sh\n(echo 'serial: 1-3'[^]*?)```/.exec(page) ?? []
    const made = await run(['sh', '-euc', `cd "$1"; ${block}`, 'sh', path('keys')])
    assert.equal(made.code, 0, made.stderr)
    const old = await withCertificate('old', { serial: 3n })
    const renewed = await withCertificate('renewed', { serial: 4n })
    assert.equal((await ssh(old, [], 'echo hello')).stdout, 'hello\n')
    try {
      await copyFile(path('keys', 'knox-revoked'), path('revoked'))
      refused(await ssh(old, [], 'echo hello'))
      assert.equal((await ssh(renewed, [], 'echo hello')).stdout, 'hello\n')
      await rm(path('revoked'))
      refused(await ssh(renewed, [], 'echo hello'))
    } finally {
      await writeFile(path('revoked'), '')
    }
  })

  test('a certificate of which one byte was changed is refused', async () => {
    const identity = await withCertificate('bent', { forcedCommand: '/bin/false' })
    const line = await readFile(`${identity}-cert.pub`, 'utf8')
    const [type = '', base64 = ''] = line.split(' ')
    const blob = Buffer.from(base64, 'base64')
    blob[blob.indexOf('/bin/false') + 1]! ^= 1
    await writeFile(`${identity}-cert.pub`, `${type} ${blob.toString('base64')} bent\n`)
    refused(await ssh(identity, [], 'echo hello'))
  })

  test('knox-shell logs in from an agent that got its key by stdin, and has a terminal', async () => {
    const key = await unlockPrivateKey(path('keys'), 'knox-shell', passphrase)
    const socket = path('agent')
    start(['ssh-agent', '-D', '-a', socket]).stderr?.resume()
    await until('ssh-agent', () => existsSync(socket))
    const added = await run(['env', `SSH_AUTH_SOCK=${socket}`, 'ssh-add', '-q', '-'], key.reveal())
    assert.equal(added.code, 0, added.stderr)
    const words = ['-o', `IdentityAgent=${socket}`]
    const { stdout } = await ssh(path('keys', 'knox-shell'), words, 'echo hello')
    assert.equal(stdout, 'hello\n')
    assert.match((await ssh(path('keys', 'knox-shell'), [...words, '-tt'], 'tty')).stdout, /^\/dev\/pts\/\d+/)
    refused(await ssh(path('keys', 'knox-shell'), ['-o', 'IdentityAgent=none'], 'echo hello'))
  })

  test('another host key than the one made at home is noticed', async () => {
    await writeFile(path('other_host'), `knox ${publicKeyLine(makeKeyPair().publicKey, 'root@knox')}`)
    const words = ['-o', `UserKnownHostsFile=${path('other_host')}`]
    const { code, stderr } = await ssh(path('keys', 'knox-send'), words, 'true')
    assert.equal(code, 255)
    assert.match(stderr, /HOST IDENTIFICATION HAS CHANGED/)
  })
})
