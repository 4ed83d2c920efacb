import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isAtLeast, KNOWN_BRANCHES, releaseOf } from '../../../provision/image/releases.ts'
import { knoxError, linesOf, overlay, textIn } from './helpers.ts'

/** Keywords of sshd_config(5) in OpenSSH 6.6, the oldest there is on a box, as far as knox uses them. */
const WORDS_OF_6_6 = [
  ...['HostKey', 'AllowUsers', 'TrustedUserCAKeys', 'AuthorizedKeysFile', 'PermitRootLogin'],
  ...['AuthenticationMethods', 'PubkeyAuthentication', 'PasswordAuthentication', 'UsePAM', 'UseDNS'],
  ...['ChallengeResponseAuthentication', 'KexAlgorithms', 'Ciphers', 'AllowTcpForwarding', 'GatewayPorts'],
  ...['AllowAgentForwarding', 'PermitTunnel', 'X11Forwarding', 'PermitUserEnvironment', 'LoginGraceTime'],
  ...['MaxAuthTries', 'MaxStartups', 'MaxSessions', 'ClientAliveInterval', 'ClientAliveCountMax'],
  'TCPKeepAlive',
]

const wordsOf = async (release: string): Promise<readonly string[]> =>
  linesOf(textIn(await overlay({ release }), '/etc/ssh/sshd_config')).map((line) => line.split(' ')[0] ?? '')

describe('a branch and its words', () => {
  test('versions are compared as numbers', () => {
    assert.equal(isAtLeast('10.10', '10.9'), true)
    assert.equal(isAtLeast('10.2', '10.2'), true)
    assert.equal(isAtLeast('9.3', '10.0'), false)
    assert.equal(isAtLeast('11.0', '10.4'), true)
    assert.equal(isAtLeast('10.4', '11.0'), false)
  })

  test('a branch that is not in the table takes what the next older one is known to have', () => {
    const known = ['10.2', '10.4', '12.0', '13.2', '14.0'].map((v) => releaseOf(`releng/${v}`).openssh)
    assert.deepEqual(known, ['6.6', '7.3', '7.8', '9.3', '9.5'])
    const between = ['10.3', '11.0', '13.0', '13.5', '15.1', '99.0'].map(
      (v) => releaseOf(`releng/${v}`).openssh,
    )
    assert.deepEqual(between, ['6.6', '7.3', '7.8', '9.3', '10.0', '10.0'])
  })

  test('a branch before 10.2, or none at all, is refused with the oldest one named', () => {
    for (const branch of ['releng/10.1', 'releng/9.3', 'releng/0.0'])
      assert.throws(() => releaseOf(branch), knoxError('config', /does not know FreeBSD/))
    for (const branch of ['', 'head', 'stable/10', '10.2', 'releng/10', 'releng/10.2 ', 'releng/10.2.1'])
      assert.throws(() => releaseOf(branch), knoxError('config', /is not a branch/))
  })

  test('10.2 gets only words that its OpenSSH 6.6 knows', async () => {
    const unknown = (await wordsOf('releng/10.2')).filter((word) => !WORDS_OF_6_6.includes(word))
    assert.deepEqual(unknown, [])
  })

  test('no version gets a word twice, and each gets one switch for keyboard-interactive logins', async () => {
    for (const branch of KNOWN_BRANCHES) {
      const words = await wordsOf(branch)
      assert.deepEqual([...new Set(words)], words, branch)
      const switches = words.filter((word) =>
        /^(?:ChallengeResponse|KbdInteractive)Authentication$/.test(word),
      )
      assert.equal(switches.length, 1, branch)
    }
    assert.ok((await wordsOf('releng/12.0')).includes('ChallengeResponseAuthentication'))
    assert.ok((await wordsOf('releng/13.2')).includes('KbdInteractiveAuthentication'))
  })

  test('newer versions say more', async () => {
    const said = async (release: string, word: string) => (await wordsOf(release)).includes(word)
    assert.deepEqual(await Promise.all(KNOWN_BRANCHES.map((b) => said(b, 'DisableForwarding'))), [
      ...[false, false],
      ...[true, true, true, true, true],
    ])
    assert.deepEqual(await Promise.all(KNOWN_BRANCHES.map((b) => said(b, 'PubkeyAcceptedKeyTypes'))), [
      ...[false, true, true, true],
      ...[false, false, false],
    ])
    assert.equal(await said('releng/13.2', 'PubkeyAcceptedAlgorithms'), true)
    assert.equal(await said('releng/12.0', 'CASignatureAlgorithms'), false)
    assert.equal(await said('releng/13.2', 'CASignatureAlgorithms'), true)
  })

  test('6.6 is offered the one name of curve25519 that it knows, and that one is always there', () => {
    assert.deepEqual(releaseOf('releng/10.2').keyExchanges, ['curve25519-sha256@libssh.org'])
    for (const branch of KNOWN_BRANCHES)
      assert.ok(releaseOf(branch).keyExchanges.includes('curve25519-sha256@libssh.org'), branch)
    assert.equal(releaseOf('releng/13.2').keyExchanges[0], 'sntrup761x25519-sha512@openssh.com')
  })

  test('host key types, login shell and memory follow the branch', () => {
    const [old, middle, young] = [
      releaseOf('releng/10.4'),
      releaseOf('releng/13.2'),
      releaseOf('releng/14.0'),
    ]
    assert.deepEqual(old.otherHostKeys, ['rsa1', 'rsa', 'dsa', 'ecdsa'])
    assert.deepEqual(middle.otherHostKeys, ['rsa', 'dsa', 'ecdsa'])
    assert.deepEqual([old.rootShell, middle.rootShell, young.rootShell], ['/bin/csh', '/bin/csh', '/bin/sh'])
    assert.deepEqual(old.memory['rpi-b'], { kmemSize: '180M', arcMax: '24M' })
    assert.deepEqual(old.memory.laptop, { kmemSize: '150M', arcMax: '32M' })
    assert.deepEqual(young.memory.laptop, { kmemSize: false, arcMax: '64M' })
  })
})
