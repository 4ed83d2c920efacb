import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { LOGINS, type Login } from '../../../provision/core/keys.ts'
import {
  knownHostsText,
  shownKeyArgv,
  SSH_FAILURES,
  sshArgv,
  sshConfigText,
} from '../../../provision/tools/ssh.ts'
import { tempFolder } from '../../support/expect.ts'

const noSsh = spawnSync('ssh', ['-V']).error === undefined ? false : 'no ssh here'
const address = { host: '192.0.2.1', port: 2222 }

/** What ssh itself makes of knox's configuration for a login. */
const settingsOf = async (t: TestContext, login: Login, subfolder = 'keys') => {
  const folder = join(await tempFolder(t), subfolder)
  await mkdir(folder)
  await writeFile(join(folder, 'ssh_config'), sshConfigText(folder, 'knox', LOGINS))
  const [file = '', ...words] = sshArgv({ folder, boxName: 'knox', address }, login)
  const env = { ...process.env, SSH_AUTH_SOCK: '/tmp/agent' }
  const { stdout, stderr, status } = spawnSync(file, ['-G', ...words], { encoding: 'utf8', env })
  assert.equal(status, 0, stderr)
  const settings = new Map<string, string[]>()
  for (const line of stdout.trim().split('\n')) {
    const [name = '', ...value] = line.split(' ')
    settings.set(name, [...(settings.get(name) ?? []), value.join(' ')])
  }
  return { folder, get: (name: string) => settings.get(name)?.join() }
}

describe('knox’s ssh configuration, as ssh reads it', { skip: noSsh }, () => {
  test('one connection is one login: nothing is shared, no agent offers another key (facts 11.5)', async (t) => {
    for (const login of LOGINS) {
      const { folder, get } = await settingsOf(t, login)
      assert.equal(get('identityfile'), join(folder, login))
      assert.equal(get('certificatefile'), join(folder, `${login}-cert.pub`))
      assert.equal(get('identitiesonly'), 'yes')
      assert.equal(get('identityagent'), 'none')
      assert.equal(get('controlmaster'), 'false')
      assert.ok([undefined, 'none'].includes(get('controlpath')))
    }
  })

  test('the box is known by its own host key only, wherever it is reached', async (t) => {
    const { folder, get } = await settingsOf(t, 'knox-send')
    assert.deepEqual([get('hostname'), get('port'), get('user')], ['192.0.2.1', '2222', 'root'])
    assert.deepEqual([get('hostkeyalias'), get('stricthostkeychecking')], ['knox', 'true'])
    assert.deepEqual(
      [get('userknownhostsfile'), get('globalknownhostsfile')],
      [join(folder, 'known_hosts'), '/dev/null'],
    )
    assert.deepEqual(
      [get('hostkeyalgorithms'), get('updatehostkeys'), get('checkhostip')],
      ['ssh-ed25519', 'false', 'no'],
    )
  })

  test('nobody is asked, a dead peer is noticed, and nothing is forwarded (facts 11.6)', async (t) => {
    const { get } = await settingsOf(t, 'knox-fifo')
    assert.deepEqual([get('batchmode'), get('passwordauthentication')], ['yes', 'no'])
    assert.equal(Number(get('serveraliveinterval')) * Number(get('serveralivecountmax')), 60)
    assert.equal(get('connecttimeout'), '20')
    assert.deepEqual(
      [get('forwardagent'), get('forwardx11'), get('clearallforwardings')],
      ['no', 'no', 'yes'],
    )
  })

  test('a key folder with blanks and letters of any alphabet works', async (t) => {
    const { folder, get } = await settingsOf(t, 'knox-send', "my küche's keys")
    assert.equal(get('identityfile'), join(folder, 'knox-send'))
    assert.equal(get('userknownhostsfile'), join(folder, 'known_hosts'))
  })
})

describe('a look at the key that is shown', { skip: noSsh }, () => {
  test('offers no login, asks nobody, and reads and writes no file but its own', () => {
    const [file = '', ...words] = shownKeyArgv({ host: 'fe80::1%lo', port: 2222 }, '/a b/known_hosts')
    const { stdout, stderr, status } = spawnSync(file, ['-G', ...words], { encoding: 'utf8' })
    assert.equal(status, 0, stderr)
    for (const line of [
      ...['hostname fe80::1%lo', 'port 2222', 'user root', 'batchmode yes', 'connecttimeout 10'],
      ...['userknownhostsfile /a b/known_hosts', 'globalknownhostsfile /dev/null'],
      ...['pubkeyauthentication false', 'preferredauthentications none', 'stricthostkeychecking false'],
    ])
      assert.ok(stdout.split('\n').includes(line), `${line}, but ${stdout}`)
    assert.ok(!stdout.includes('proxycommand'))
  })
})

describe('ssh', () => {
  test('is called with knox’s own file; an address of any kind is one word, a command comes after --', () => {
    const target = { folder: '/k', boxName: 'knox', address: { host: 'fe80::1%em0', port: 22 } }
    assert.deepEqual(sshArgv(target, 'knox-send'), [
      'ssh',
      '-F',
      '/k/ssh_config',
      '-T',
      '-o',
      'HostName=fe80::1%%em0',
      '-p',
      '22',
      'knox-send',
    ])
    // what ssh itself makes of it
    const [, , , ...words] = sshArgv(target, 'knox-send')
    const { stdout } = spawnSync('ssh', ['-G', '-F', '/dev/null', ...words], { encoding: 'utf8' })
    assert.match(stdout, /^hostname fe80::1%em0$/m)
    assert.deepEqual(sshArgv(target, 'knox-shell', { command: '-x' }).slice(-3), ['knox-shell', '--', '-x'])
  })

  test('known_hosts has one line: the box’s name and its key, without the comment', () => {
    assert.equal(knownHostsText('knox', 'ssh-ed25519 AAAAC3 me@home\n'), 'knox ssh-ed25519 AAAAC3\n')
  })

  test('what it says is told as what it is', () => {
    const cases: readonly (readonly [string, string | undefined])[] = [
      ['ssh: connect to host 192.0.2.1 port 22: Connection refused', 'unreachable'],
      ['ssh: connect to host 192.0.2.1 port 22: Connection timed out', 'unreachable'],
      ['ssh: connect to host 192.0.2.1 port 22: Operation timed out', 'unreachable'],
      ['ssh: connect to host 192.0.2.1 port 22: No route to host', 'unreachable'],
      ['ssh: connect to host 192.0.2.1 port 22: Host is down', 'unreachable'],
      ['ssh: Could not resolve hostname knox.example: Name or service not known', 'unreachable'],
      [
        'ssh: Could not resolve hostname knox.example: hostname nor servname provided, or not known',
        'unreachable',
      ],
      ['Connection closed by 192.0.2.1 port 22', 'unreachable'],
      ['kex_exchange_identification: read: Connection reset by peer', 'unreachable'],
      ['Timeout, server 192.0.2.1 not responding.', 'unreachable'],
      ['client_loop: send disconnect: Broken pipe', 'unreachable'],
      ['root@192.0.2.1: Permission denied (publickey).', 'key-rejected'],
      ['Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures', 'key-rejected'],
      ['@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.', 'key-rejected'],
      [
        'No ED25519 host key is known for knox and you have requested strict checking.\nHost key verification failed.',
        'key-rejected',
      ],
      [
        'Unable to negotiate with 192.0.2.1 port 22: no matching host key type found. Their offer: ssh-rsa',
        'key-rejected',
      ],
      ['something else', undefined],
    ]
    for (const [stderr, code] of cases)
      assert.equal(SSH_FAILURES.find(({ pattern }) => pattern.test(stderr))?.code, code, stderr)
  })
})

describe('an onion service (facts 11.32)', () => {
  test('has a minute for its first connection, whoever asks for less', { skip: noSsh }, () => {
    const onion = { host: `${'a'.repeat(56)}.onion`, port: 22 }
    const target = { folder: '/k', boxName: 'knox', address: onion }
    for (const argv of [
      sshArgv(target, 'knox-send', { words: ['-o', 'ConnectTimeout=10'] }).with(2, '/dev/null'),
      shownKeyArgv(onion, '/k/known_hosts'),
    ]) {
      const [file = '', ...words] = argv
      const { stdout, stderr } = spawnSync(file, ['-G', ...words], { encoding: 'utf8' })
      assert.match(stdout, /^connecttimeout 60$/m, stderr)
      assert.match(stdout, /^proxycommand nc -X 5 -x 127\.0\.0\.1:9050 %h %p$/m)
    }
  })

  const words = (host: string) =>
    sshArgv({ folder: '/keys', boxName: 'knox', address: { host, port: 22 } }, 'knox-send').join(' ')

  test('is reached through Tor on this machine, and nothing else is', () => {
    const onion = `${'a'.repeat(56)}.onion`
    assert.match(words(onion), /-o ProxyCommand=nc -X 5 -x 127\.0\.0\.1:9050 %h %p -o HostName=a+\.onion/)
    for (const host of [onion.toUpperCase(), `${onion}.`])
      assert.ok(words(host).includes('ProxyCommand'), host)
    for (const host of ['192.0.2.1', 'onion.example.net', 'x.onion.example.net'])
      assert.ok(!words(host).includes('ProxyCommand'), host)
  })
})
