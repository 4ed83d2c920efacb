import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { MADE_FILES } from '../../../provision/keys/key-files.ts'
import { initKeys, listKeys, planInit } from '../../../provision/keys/key-folder.ts'
import { contentOf, init, options, problemsIn } from './folders.ts'
import { knoxError, NOW, noSshKeygen, PASSPHRASE, run, tempFolder } from './helpers.ts'

describe('initKeys', () => {
  test('it makes every file with mode 0600 in a folder of mode 0700, whatever the umask', async (t) => {
    const old = process.umask(0)
    t.after(() => process.umask(old))
    const folder = join(await tempFolder(t), 'keys')
    await initKeys(folder, options)
    assert.equal((await stat(folder)).mode & 0o777, 0o700)
    assert.deepEqual((await readdir(folder)).sort(), [...MADE_FILES].sort())
    for (const file of MADE_FILES) {
      const info = await stat(join(folder, file))
      assert.equal(info.mode & 0o777, 0o600, file)
      assert.equal(info.nlink, 1, file)
    }
  })

  test(
    'ssh-keygen opens each private key with the right passphrase only',
    { skip: noSshKeygen },
    async (t) => {
      const folder = await init(t)
      const words = { 'knox-ca': PASSPHRASE, 'knox-shell': PASSPHRASE, 'knox-fifo': '', 'knox-send': '' }
      for (const [name, word] of Object.entries({ ...words, ssh_host_ed25519_key: '' })) {
        const { stdout } = await run(['ssh-keygen', '-y', '-P', word, '-f', join(folder, name)])
        assert.equal(stdout, await readFile(join(folder, `${name}.pub`), 'utf8'), name)
      }
      for (const name of ['knox-ca', 'knox-shell'])
        assert.notEqual((await run(['ssh-keygen', '-y', '-P', '', '-f', join(folder, name)])).code, 0)
      assert.match(await readFile(join(folder, 'ssh_host_ed25519_key.pub'), 'utf8'), / root@knox\n$/)
    },
  )

  test('the report names the fingerprints that ssh-keygen prints', { skip: noSshKeygen }, async (t) => {
    const folder = join(await tempFolder(t), 'deep', 'keys')
    const report = await initKeys(folder, options)
    for (const [file, print] of [
      ['knox-ca.pub', report.caFingerprint],
      ['ssh_host_ed25519_key', report.hostKeyFingerprint],
    ] as const)
      assert.ok((await run(['ssh-keygen', '-l', '-f', join(folder, file)])).stdout.includes(` ${print} `))
  })

  test('the disk key is 1024 random bytes', async (t) => {
    const [one, other] = [await init(t), await init(t, 'other')]
    const key = await readFile(join(one, 'geli.key'))
    assert.equal(key.length, 1024)
    assert.notDeepEqual(key, await readFile(join(other, 'geli.key')))
    assert.ok(new Set(key).size > 200)
  })

  test('no file holds the passphrase', async (t) => {
    const text = Buffer.from(PASSPHRASE).toString('hex')
    for (const [file, hex] of Object.entries(await contentOf(await init(t))))
      assert.ok(!hex.includes(text), file)
  })

  test('a passphrase of seven characters is refused, and no folder is made', async (t) => {
    const folder = join(await tempFolder(t), 'keys')
    for (const short of ['', 'seven77', '🔑🔑🔑🔑🔑🔑🔑'])
      await assert.rejects(
        initKeys(folder, { ...options, passphrase: new Secret('passphrase', short) }),
        knoxError('usage', /8 characters/),
      )
    await assert.rejects(stat(folder))
  })

  test('a box name that is none is refused', async (t) => {
    const folder = join(await tempFolder(t), 'keys')
    await assert.rejects(initKeys(folder, { ...options, boxName: 'knox\nroot' }), knoxError('usage'))
  })

  test('a folder that others may enter is refused', async (t) => {
    const folder = await tempFolder(t)
    await chmod(folder, 0o755)
    await assert.rejects(initKeys(folder, options), knoxError('config', /others may enter/))
    assert.deepEqual(await readdir(folder), [])
  })

  test('if any one file exists, nothing is written and that file is not touched', async (t) => {
    for (const file of MADE_FILES) {
      const folder = await tempFolder(t)
      await writeFile(join(folder, file), 'precious')
      await assert.rejects(initKeys(folder, options), knoxError('refused', new RegExp(file)))
      assert.deepEqual(await readdir(folder), [file])
      assert.equal(await readFile(join(folder, file), 'utf8'), 'precious')
    }
  })

  test('with force, what stood there is kept whole in a sub-folder', async (t) => {
    const folder = await init(t)
    await writeFile(join(folder, 'receipt.json'), '{}')
    const old = await contentOf(folder)
    const report = await initKeys(folder, { ...options, force: true })
    const aside = join(folder, 'replaced-2026-11-23T12:00:00.000Z')
    assert.equal(report.replaced, aside)
    assert.equal((await stat(aside)).mode & 0o777, 0o700)
    for (const file of MADE_FILES) {
      assert.equal((await readFile(join(aside, file))).toString('hex'), old[join(folder, file)])
      assert.notEqual((await readFile(join(folder, file))).toString('hex'), old[join(folder, file)])
    }
    assert.equal(await readFile(join(folder, 'receipt.json'), 'utf8'), '{}')
    assert.deepEqual(problemsIn(await listKeys(folder, NOW)), {})
  })

  test('with force twice in one instant, the first sub-folder is not written over', async (t) => {
    const folder = await init(t)
    await initKeys(folder, { ...options, force: true })
    const old = await contentOf(folder)
    await assert.rejects(initKeys(folder, { ...options, force: true }))
    assert.deepEqual(await contentOf(folder), old)
  })

  test('what a run that was cut off left behind does no harm', async (t) => {
    const folder = await tempFolder(t)
    await mkdir(join(folder, '.staged-x'))
    await writeFile(join(folder, '.staged-x', 'knox-ca'), 'half')
    await initKeys(folder, options)
    assert.deepEqual((await readdir(folder)).sort(), [...MADE_FILES].sort())
  })

  test('two at once: at most one makes keys, and they belong together', async (t) => {
    const folder = join(await tempFolder(t), 'keys')
    const results = await Promise.allSettled([initKeys(folder, options), initKeys(folder, options)])
    const kept = results.filter(({ status }) => status === 'fulfilled').length
    assert.ok(kept <= 1)
    if (kept === 1) assert.deepEqual(problemsIn(await listKeys(folder, NOW)), {})
    else assert.deepEqual(await readdir(folder), [])
  })

  test('the plan names what would be made and changes nothing', async (t) => {
    const folder = join(await tempFolder(t), 'keys')
    assert.deepEqual(await planInit(folder, false), { files: MADE_FILES, replaced: [] })
    await assert.rejects(stat(folder))
  })
})
