import assert from 'node:assert/strict'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, test, type TestContext } from 'node:test'
import { overlayOf, readBoxKeys } from '../../../provision/image/overlay.ts'
import { KNOWN_BRANCHES, releaseOf } from '../../../provision/image/releases.ts'
import { writeOverlay } from '../../../provision/image/write-overlay.ts'
import { boxOf, run, tempFolder, type Ran } from './helpers.ts'
import { noLogin, noSshd, prepare, SSHD, startSshd } from './sshd.ts'

/** The rendered sshd_config before a real sshd. Only the folder of its files is another one, nothing else is changed. */

interface Box {
  /** the key folder, with what else the test needs */
  readonly home: string
  readonly config: string
}

/** A box of this release, with keys made by ssh-keygen. */
const boxIn = async (t: TestContext, release: string): Promise<Box> => {
  const home = await tempFolder(t)
  for (const name of ['knox-ca', 'ssh_host_ed25519_key', 'login', 'other-ca']) {
    const made = await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(home, name)])
    assert.equal(made.code, 0, made.stderr)
  }
  const out = join(home, 'overlay')
  await writeOverlay(out, await overlayOf(boxOf({ release }), await readBoxKeys(home)), false)
  const config = join(out, 'etc/ssh/sshd_config')
  const text = await readFile(config, 'utf8')
  const moved = text.replaceAll(/ (\/etc\/ssh\/\S+)$/gm, (_, path: string) => ` ${join(out, path)}`)
  assert.equal(moved.split(out).length, 3, 'the host key and the authority are moved')
  await writeFile(config, moved)
  return { home, config }
}

/** Lines in which sshd finds fault with words of its configuration. */
const complaintsIn = ({ stderr }: Ran): readonly string[] =>
  stderr.split('\n').filter((line) => /sshd_config|option|unsupported|deprecated|bad|unknown/i.test(line))

describe('sshd -t', { skip: noSshd }, () => {
  before(prepare)

  for (const branch of KNOWN_BRANCHES)
    test(`takes the file for ${branch} without a word`, async (t) => {
      const { config } = await boxIn(t, branch)
      const ran = await run([SSHD, '-t', '-f', config])
      // this sshd still takes each word of the older ones; one that it drops belongs here, by name
      assert.deepEqual(complaintsIn(ran), [])
      assert.deepEqual([ran.code, ran.stderr, ran.stdout], [0, '', ''])
    })

  test('is a judge: a word that it does not know, a cipher or a key that is not there, are told', async (t) => {
    const { config } = await boxIn(t, 'releng/10.2')
    const text = await readFile(config, 'utf8')
    for (const line of ['DisableEverything yes', 'KexAlgorithms curve999', 'HostKey /nonexistent/key']) {
      await writeFile(config, `${line}\n${text}`)
      const { code, stderr } = await run([SSHD, '-t', '-f', config])
      assert.ok(code !== 0 || stderr !== '', line)
    }
  })

  for (const branch of KNOWN_BRANCHES)
    test(`what follows from the file for ${branch} is what knox means`, async (t) => {
      const { config, home } = await boxIn(t, branch)
      const { stdout, stderr } = await run([SSHD, '-T', '-f', config])
      const effective = new Map(
        stdout.split('\n').map((line) => {
          const [name = '', ...words] = line.split(' ')
          return [name, words.join(' ')] as const
        }),
      )
      const expected = {
        permitrootlogin: 'without-password',
        allowusers: 'root',
        authorizedkeysfile: 'none',
        trustedusercakeys: join(home, 'overlay/etc/ssh/knox-ca'),
        hostkey: join(home, 'overlay/etc/ssh/ssh_host_ed25519_key'),
        authenticationmethods: 'publickey',
        passwordauthentication: 'no',
        kbdinteractiveauthentication: 'no',
        pubkeyauthentication: 'yes',
        usepam: 'no',
        usedns: 'no',
        ciphers: 'chacha20-poly1305@openssh.com',
        kexalgorithms: releaseOf(branch).keyExchanges.join(','),
        clientaliveinterval: '10',
        clientalivecountmax: '3',
        logingracetime: '60',
        maxauthtries: '3',
        maxstartups: '10:30:60',
        maxsessions: '4',
        x11forwarding: 'no',
        allowtcpforwarding: 'no',
        allowagentforwarding: 'no',
        gatewayports: 'no',
        permittunnel: 'no',
        permituserenvironment: 'no',
      }
      const found = Object.fromEntries(Object.keys(expected).map((name) => [name, effective.get(name)]))
      assert.deepEqual(found, expected, stderr)
    })
})

describe('logging in with the rendered sshd_config', { skip: noLogin }, () => {
  const ssh = ({ home }: Box, port: number, identity: string, words: readonly string[]): Promise<Ran> => {
    const options = [
      ...['User=root', 'HostKeyAlias=knox', 'StrictHostKeyChecking=yes', 'HostKeyAlgorithms=ssh-ed25519'],
      ...[`UserKnownHostsFile=${join(home, 'known_hosts')}`, 'GlobalKnownHostsFile=/dev/null'],
      ...['IdentitiesOnly=yes', 'IdentityAgent=none', 'BatchMode=yes', `IdentityFile=${identity}`],
    ].flatMap((option) => ['-o', option])
    return run(['ssh', '-F', 'none', '-p', port.toString(), ...options, ...words])
  }

  /** A key of its own with a certificate of these terms beside it. */
  const certified = async ({ home }: Box, name: string, ca: string, words: readonly string[]) => {
    const path = join(home, name)
    await copyFile(join(home, 'login'), path)
    await copyFile(join(home, 'login.pub'), `${path}.pub`)
    const signed = await run(['ssh-keygen', '-q', '-s', join(home, ca), '-I', name, ...words, `${path}.pub`])
    assert.equal(signed.code, 0, signed.stderr)
    return path
  }

  const startBox = async (t: TestContext, release: string) => {
    const box = await boxIn(t, release)
    const hostKey = await readFile(join(box.home, 'ssh_host_ed25519_key.pub'), 'utf8')
    await writeFile(join(box.home, 'known_hosts'), `knox ${hostKey}`)
    return { box, port: await startSshd(t, box.config) }
  }

  for (const branch of KNOWN_BRANCHES)
    test(`${branch}: the owner's certificate gets in, nothing else is even offered`, async (t) => {
      const { box, port } = await startBox(t, branch)
      const good = await certified(box, 'good', 'knox-ca', ['-n', 'root'])
      const inside = await ssh(box, port, good, ['127.0.0.1', 'echo inside'])
      assert.deepEqual([inside.stdout, inside.code], ['inside\n', 0], inside.stderr)

      const refused: Readonly<Record<string, string>> = {
        'a plain key': join(box.home, 'login'),
        'a certificate of another authority': await certified(box, 'other', 'other-ca', ['-n', 'root']),
        'a certificate for somebody else': await certified(box, 'user', 'knox-ca', ['-n', 'operator']),
        'a certificate that has run out': await certified(box, 'old', 'knox-ca', [
          '-n',
          'root',
          '-V',
          '-2d:-1d',
        ]),
      }
      for (const [what, identity] of Object.entries(refused)) {
        const { code, stderr, stdout } = await ssh(box, port, identity, ['127.0.0.1', 'echo inside'])
        assert.deepEqual([code, stdout], [255, ''], what)
        assert.match(stderr, /Permission denied \(publickey\)/, what)
      }
    })

  test('a full shell can forward nothing', async (t) => {
    for (const branch of ['releng/10.2', 'releng/13.2']) {
      const { box, port } = await startBox(t, branch)
      const good = await certified(box, 'good', 'knox-ca', ['-n', 'root'])
      const through = await ssh(box, port, good, ['-W', `127.0.0.1:${port}`, '127.0.0.1'])
      assert.notEqual(through.code, 0)
      assert.match(through.stderr, /administratively prohibited/)
      const words = ['-o', 'ExitOnForwardFailure=yes', '-R', '0:127.0.0.1:1', '127.0.0.1', 'echo inside']
      assert.equal((await ssh(box, port, good, words)).stdout, '')
    }
  })
})
