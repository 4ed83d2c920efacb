import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { Secret } from '../../provision/core/secret.ts'
import { initKeys } from '../../provision/keys/key-folder.ts'
import { tempFolder } from '../support/expect.ts'
import { freePort, noSshd, startSshd } from '../unit/image/sshd.ts'

/** `knox setup` where another machine answers at the box's address. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const PASSPHRASE = 'correct horse battery staple'

/** A home with keys, and knox.yaml with the address of another machine than the box. */
const withStranger = async (t: TestContext) => {
  const dir = await tempFolder(t)
  const env = { ...process.env, HOME: dir }
  const without = (...words: readonly string[]) =>
    spawnSync(process.execPath, [KNOX, 'setup', ...words], { cwd: dir, env, encoding: 'utf8' })
  const folder = join(dir, '.config/knox/knox')
  const port = await freePort()
  await initKeys(folder, {
    boxName: 'knox',
    passphrase: new Secret('passphrase', PASSPHRASE),
    force: false,
    now: new Date(),
  })
  await writeFile(join(dir, 'knox.yaml'), `box:\n  addresses: [127.0.0.1:${port}]\nhome:\n  pool: tank\n`)
  assert.equal(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, 'other')]).status, 0)
  await writeFile(join(dir, 'sshd'), `HostKey ${dir}/other\n`)
  await startSshd(t, join(dir, 'sshd'), { port })
  return { dir, folder, port, without, addresses: () => readFile(join(dir, 'knox.yaml'), 'utf8') }
}

describe('knox setup, with another machine at the known address', { skip: noSshd, concurrency: true }, () => {
  test('refuses another machine at the box’s address, with both fingerprints', async (t) => {
    const { dir, folder, without } = await withStranger(t)
    const { stderr, status } = without()
    assert.equal(status, 12, stderr)
    const printOf = (file: string) =>
      spawnSync('ssh-keygen', ['-lf', file], { encoding: 'utf8' }).stdout.split(' ')[1] ?? 'none'
    assert.match(stderr, /another machine than the box answers at 127\.0\.0\.1:/)
    assert.ok(stderr.includes(`its host key is ${printOf(join(dir, 'other.pub'))}`), stderr)
    assert.ok(stderr.includes(`the box’s is ${printOf(join(folder, 'ssh_host_ed25519_key.pub'))}`), stderr)
  })

  test('goes to the address that is said, whoever answers at the one of before', async (t) => {
    const { dir, folder, port, without, addresses } = await withStranger(t)
    await writeFile(join(dir, 'box'), `HostKey ${folder}/ssh_host_ed25519_key\nPasswordAuthentication no\n`)
    for (const flag of ['--placed', '--address']) {
      const box = await startSshd(t, join(dir, 'box'))
      const { stderr, status } = without(flag, `127.0.0.1:${box}`)
      // it is the box, but for its certificates
      assert.deepEqual([status, /does not accept the certificate/.test(stderr)], [12, true], stderr)
      assert.doesNotMatch(stderr, /looking for the box|another machine/)
      assert.match(await addresses(), new RegExp(`addresses: \\[ ?127\\.0\\.0\\.1:${box}, `))
    }
    const before = await addresses()
    const gone = without('--placed', '127.0.0.1:1')
    assert.deepEqual(
      [gone.status, /does not answer at 127\.0\.0\.1:1/.test(gone.stderr)],
      [10, true],
      gone.stderr,
    )
    const other = without('--placed', `127.0.0.1:${port}`)
    assert.deepEqual([other.status, /another machine/.test(other.stderr)], [12, true], other.stderr)
    assert.equal(await addresses(), before)
  })

  test('lets another machine at the known address become the box, if that is said', async (t) => {
    const { port, without } = await withStranger(t)
    const words = ['--box', 'installed', '--address', `127.0.0.1:${port}`]
    const { stderr, status } = without(...words)
    // it gets as far as adopt, which wants the passphrase
    assert.deepEqual(
      [status, /nobody is at a terminal to answer: passphrase of the keys/.test(stderr)],
      [4, true],
      stderr,
    )
  })
})
