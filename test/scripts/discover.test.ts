import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, copyFile, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { test, type TestContext } from 'node:test'
import { initKeys } from '../../provision/keys/key-folder.ts'
import { Secret } from '../../provision/core/secret.ts'
import { tempFolder } from '../support/expect.ts'
import { freePort, noSshd, startSshd } from '../unit/image/sshd.ts'

/** `knox discover` on the loopback network: the box among strangers, liars and machines that say nothing. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const NETWORK = '127.0.0.16/28'

interface World {
  readonly dir: string
  readonly port: number
}

/** A home with keys and a knox.yaml; the port is that of its one known address, where nobody is. */
const makeHome = async (t: TestContext): Promise<World> => {
  const dir = await tempFolder(t)
  const port = await freePort()
  await initKeys(join(dir, 'keys'), {
    boxName: 'knox',
    passphrase: new Secret('passphrase', 'long enough'),
    force: false,
    now: new Date(),
  })
  const yaml = `# mine\nbox:\n  addresses: [192.0.2.1:${port}] # the old one\nhome:\n  pool: tank\n  folder: ${dir}/keys\n`
  await writeFile(join(dir, 'knox.yaml'), yaml)
  return { dir, port }
}

const knox = (dir: string, ...words: readonly string[]) => {
  const env = { ...process.env, HOME: dir }
  const child = spawn(process.execPath, [KNOX, 'discover', '--network', NETWORK, ...words], { cwd: dir, env })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = once(child, 'close').then(([code]) => ({ code: code as number, stdout, stderr }))
  return { child, ended, said: () => stderr }
}

const startBox = async (t: TestContext, { dir, port }: World, host: string): Promise<void> => {
  const config = join(dir, `sshd-${host}`)
  await copyFile(join(dir, 'keys/ssh_host_ed25519_key'), join(dir, 'host'))
  await chmod(join(dir, 'host'), 0o600)
  await writeFile(config, `HostKey ${dir}/host\nPasswordAuthentication no\n`)
  await startSshd(t, config, { host, port })
}

const startStranger = async (t: TestContext, { dir, port }: World, host: string, type: string) => {
  const key = join(dir, `stranger-${type}`)
  assert.equal(spawnSync('ssh-keygen', ['-q', '-t', type, '-N', '', '-f', key]).status, 0)
  await writeFile(`${key}.conf`, `HostKey ${key}\n`)
  await startSshd(t, `${key}.conf`, { host, port })
}

/** Accepts, does this, and never ends by itself. */
const startOddity = async (t: TestContext, { port }: World, host: string, act: (socket: Socket) => void) => {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined))
    act(socket)
  })
  server.listen(port, host)
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
}

test('the box is known by the host key it proves, among strangers and liars', { skip: noSshd }, async (t) => {
  const world = await makeHome(t)
  const { dir, port } = world
  await startStranger(t, world, '127.0.0.18', 'ed25519')
  await startStranger(t, world, '127.0.0.19', 'rsa')
  await startBox(t, world, '127.0.0.20')
  await startOddity(t, world, '127.0.0.21', () => undefined)
  await startOddity(t, world, '127.0.0.22', (socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'.repeat(2000)))
  await startOddity(t, world, '127.0.0.23', (socket) => socket.write('x'.repeat(100_000)))
  await startOddity(t, world, '127.0.0.24', (socket) => socket.write('\u001b[2JSSH-2.0-\u001b[31m\r\n'))
  // SSH_MSG_DISCONNECT before any key was exchanged, with the words that the box's own refusal has
  const words = Buffer.from(`x\nroot@127.0.0.25: Permission denied (publickey).\n`)
  const body = Buffer.concat([Buffer.from([1, 0, 0, 0, 2, 0, 0, 0, words.length]), words, Buffer.alloc(4)])
  const padding = 8 + ((8 - ((body.length + 5 + 8) % 8)) % 8)
  const packet = Buffer.concat([Buffer.alloc(5), body, Buffer.alloc(padding)])
  packet.writeUInt32BE(packet.length - 4, 0)
  packet.writeUInt8(padding, 4)
  const goodbye = Buffer.concat([Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), packet])
  await startOddity(t, world, '127.0.0.25', (socket) => socket.write(goodbye))
  const { code, stdout, stderr } = await knox(dir, '--json', '--write').ended
  assert.equal(code, 0, stderr)
  const found = JSON.parse(stdout) as { box: string[]; others: string[]; looked: number }
  assert.deepEqual(found.box, [`127.0.0.20:${port}`])
  for (const stranger of ['127.0.0.18', '127.0.0.19', '127.0.0.22', '127.0.0.25'])
    assert.ok(found.others.includes(`${stranger}:${port}`), stdout)
  for (const silent of ['127.0.0.21', '127.0.0.23']) assert.ok(!stdout.includes(silent), stdout)
  assert.equal(found.looked, 14)
  const yaml = await readFile(join(dir, 'knox.yaml'), 'utf8')
  assert.match(yaml, /^# mine\nbox:\n {2}addresses: \[ ?127\.0\.0\.20:[0-9]+, 192\.0\.2\.1:[0-9]+ ?\]/)
})

test('without the box ends with 10, lists the others, and changes nothing', { skip: noSshd }, async (t) => {
  const world = await makeHome(t)
  await startStranger(t, world, '127.0.0.18', 'ed25519')
  const before = await readFile(join(world.dir, 'knox.yaml'), 'utf8')
  const { code, stdout } = await knox(world.dir, '--write').ended
  assert.equal(code, 10)
  assert.match(stdout, /127\.0\.0\.18:\d+ {2}ssh, not ours\nthe box knox is not among the 14 addresses/)
  assert.equal(await readFile(join(world.dir, 'knox.yaml'), 'utf8'), before)
})

test(
  '--wait reports the box when it is up; Ctrl-C before that ends with 130',
  { skip: noSshd },
  async (t) => {
    const world = await makeHome(t)
    const { child, ended, said } = knox(world.dir, '--wait')
    const stopped = knox(world.dir, '--wait')
    while (!said().includes('plug it in now')) await new Promise((done) => setTimeout(done, 100))
    while (!stopped.said().includes('plug it in now')) await new Promise((done) => setTimeout(done, 100))
    stopped.child.kill('SIGINT')
    const end = await stopped.ended
    assert.deepEqual([end.code, /nothing was changed/.test(end.stderr)], [130, true], end.stderr)
    assert.equal(child.exitCode, null)
    await startBox(t, world, '127.0.0.20')
    const { code, stdout } = await ended
    assert.deepEqual([code, /127\.0\.0\.20:\d+ {2}the box knox/.test(stdout)], [0, true])
  },
)

test('--give-up ends the wait with 10; what is no time is refused', async (t) => {
  const { dir } = await makeHome(t)
  const { code, stderr } = await knox(dir, '--wait', '--give-up', '1s').ended
  assert.deepEqual([code, /plug it in now/.test(stderr)], [10, true], stderr)
  assert.equal((await knox(dir, '--wait', '--give-up', 'soon').ended).code, 2)
})

test('what is no network is refused, and what is too large', async (t) => {
  const { dir } = await makeHome(t)
  for (const word of ['300.1.1.1/24', '10.0.0.0/8', 'fe80::/64', '10.0.0.0/33', '-oProxyCommand=id']) {
    const child = spawnSync(process.execPath, [KNOX, 'discover', `--network=${word}`], {
      cwd: dir,
      encoding: 'utf8',
    })
    assert.equal(child.status, 2, word)
  }
})
