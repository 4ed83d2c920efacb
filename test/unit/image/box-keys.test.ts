import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { boxKeysOf, readBoxKeys } from '../../../provision/image/box-keys.ts'
import { thrownBy } from '../../support/expect.ts'
import { keyFiles, KEYS, knoxError, run, tempFolder, writeKey } from './helpers.ts'

/** A key folder as ssh-keygen makes it. */
const keyFolder = async (t: TestContext): Promise<string> => {
  const folder = await tempFolder(t)
  for (const name of ['knox-ca', 'ssh_host_ed25519_key']) {
    const made = await run([
      'ssh-keygen',
      '-q',
      '-t',
      'ed25519',
      '-N',
      '',
      '-C',
      'me@home',
      '-f',
      join(folder, name),
    ])
    assert.equal(made.code, 0, made.stderr)
  }
  return folder
}

describe('the keys of a box', () => {
  test('are read from the folder as ssh-keygen makes them', async (t) => {
    const folder = await keyFolder(t)
    const keys = await readBoxKeys(folder)
    const [ca, host] = await Promise.all(
      ['knox-ca.pub', 'ssh_host_ed25519_key.pub'].map((name) => readFile(join(folder, name), 'utf8')),
    )
    assert.equal(keys.authority, `${ca?.split(' ').slice(0, 2).join(' ') ?? ''} knox-ca\n`)
    assert.equal(keys.hostPublicKey, `${host?.split(' ').slice(0, 2).join(' ') ?? ''} ssh_host_ed25519_key\n`)
    assert.deepEqual(keys.hostKey.reveal(), await readFile(join(folder, 'ssh_host_ed25519_key')))
  })

  test('the hostid is the fingerprint that ssh-keygen prints, but for the six bits that make it a UUID', async (t) => {
    const folder = await keyFolder(t)
    const { stdout } = await run(['ssh-keygen', '-lf', join(folder, 'ssh_host_ed25519_key.pub')])
    const print = Buffer.from(/SHA256:(\S+)/.exec(stdout)?.[1] ?? '', 'base64').toString('hex')
    const hex = (await readBoxKeys(folder)).hostUuid.replaceAll('-', '')
    const masked = (text: string) => text.slice(0, 32).replace(/^(.{12}).(.{3}).(.{15})$/, '$1_$2_$3')
    assert.equal(masked(hex), masked(print))
    assert.match(hex, /^.{12}8.{3}[89ab]/)
  })

  test('another host key gives another hostid and another seed; the same one the same', () => {
    const keysOf = (byte: number) => {
      const { line, secret } = keyFiles(byte)
      return boxKeysOf({ authority: keyFiles(2).line, hostPublicKey: line, hostKey: secret })
    }
    const [one, again, other] = [keysOf(1), keysOf(1), keysOf(3)]
    assert.equal(one.hostUuid, again.hostUuid)
    assert.deepEqual(one.entropy.reveal(), again.entropy.reveal())
    assert.notEqual(one.hostUuid, other.hostUuid)
    assert.notDeepEqual(one.entropy.reveal(), other.entropy.reveal())
  })

  test('the seed is 4096 bytes that look random and do not hold the key', () => {
    const seed = KEYS.entropy.reveal()
    assert.equal(seed.length, 4096)
    assert.ok(new Set(seed).size > 250)
    assert.equal(seed.includes(Buffer.alloc(32, 1)), false)
    const blocks = Array.from({ length: 128 }, (_, i) => seed.subarray(i * 32, i * 32 + 32).toString('hex'))
    assert.equal(new Set(blocks).size, 128)
    assert.equal(seed.includes(createHash('sha512').update(keyFiles(1).secret.reveal()).digest()), false)
  })

  for (const file of ['knox-ca.pub', 'ssh_host_ed25519_key.pub', 'ssh_host_ed25519_key'])
    test(`without ${file} the way out is named`, async (t) => {
      const folder = await keyFolder(t)
      await rm(join(folder, file))
      await assert.rejects(readBoxKeys(folder), (error: unknown) => {
        assert.ok(error instanceof KnoxError && error.code === 'config')
        assert.match(error.message, new RegExp(`lacks ${file}`))
        return error.hints.some((hint) => hint.includes('knox keys init'))
      })
    })

  test('a host key that others can read is refused', async (t) => {
    const folder = await keyFolder(t)
    await chmod(join(folder, 'ssh_host_ed25519_key'), 0o644)
    await assert.rejects(readBoxKeys(folder), knoxError('config', /read by others/))
  })

  test('a host key with a passphrase is refused: sshd could not use it', async (t) => {
    const folder = await keyFolder(t)
    const path = join(folder, 'ssh_host_ed25519_key')
    assert.equal((await run(['ssh-keygen', '-q', '-p', '-P', '', '-N', 'secret', '-f', path])).code, 0)
    await assert.rejects(readBoxKeys(folder), knoxError('config', /has a passphrase/))
  })

  test('halves of two keys are refused', async (t) => {
    const folder = await keyFolder(t)
    await writeKey(folder, 'ssh_host_ed25519_key.pub', keyFiles(9).line)
    await assert.rejects(readBoxKeys(folder), knoxError('config', /two different keys/))
  })

  test('an authority that is the host key is refused: whoever has the box would be root on it', async (t) => {
    const folder = await keyFolder(t)
    await writeKey(folder, 'knox-ca.pub', await readFile(join(folder, 'ssh_host_ed25519_key.pub')))
    await assert.rejects(readBoxKeys(folder), knoxError('config', /one and the same/))
  })

  test('that root does not find may be another user’s', async (t) => {
    const folder = await tempFolder(t)
    const hintsAs = async (uid: number): Promise<string> => {
      t.mock.method(process as { getuid: () => number }, 'getuid', () => uid)
      const error = await thrownBy(() => readBoxKeys(folder))
      assert.ok(error instanceof KnoxError && error.code === 'config')
      return error.hints.join('\n')
    }
    assert.match(await hintsAs(0), /another user’s[^]*home\.folder[^]*knox keys init/)
    assert.doesNotMatch(await hintsAs(1001), /another user/)
  })

  test('a private key in the place of a public one never gets into the overlay', async (t) => {
    const folder = await keyFolder(t)
    await writeKey(folder, 'knox-ca.pub', await readFile(join(folder, 'knox-ca')))
    await assert.rejects(readBoxKeys(folder), (error: unknown) => {
      assert.ok(error instanceof KnoxError && error.code === 'config')
      return !/[A-Za-z0-9+/]{40}/.test(`${error.message} ${error.hints.join(' ')}`)
    })
  })

  test('of an authority file with more in it only the one key is taken', () => {
    const { line, secret } = keyFiles(1)
    const authority = `${keyFiles(2).line}${keyFiles(4).line}`
    const keys = boxKeysOf({ authority, hostPublicKey: line, hostKey: secret })
    assert.equal(keys.authority, `${keyFiles(2).line.split(' ').slice(0, 2).join(' ')} knox-ca\n`)
  })

  for (const [what, text] of Object.entries({
    'an RSA key': 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 x\n',
    'an empty file': '',
    'half a key': `${keyFiles(2).line.slice(0, 50)}\n`,
    'options before the key': `command="x" ${keyFiles(2).line}`,
  }))
    test(`${what} is no authority`, () => {
      const { line, secret } = keyFiles(1)
      const keys = () => boxKeysOf({ authority: text, hostPublicKey: line, hostKey: secret })
      assert.throws(keys, knoxError('config'))
    })
})
