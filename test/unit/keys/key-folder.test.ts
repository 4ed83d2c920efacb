import assert from 'node:assert/strict'
import { chmod, readdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { LOGINS } from '../../../provision/core/keys.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { makeKeyPair } from '../../../provision/keys/ed25519.ts'
import { publicKeyLine } from '../../../provision/keys/public-key.ts'
import { MADE_FILES } from '../../../provision/keys/key-files.ts'
import {
  listKeys,
  planSigning,
  renewLogins,
  signLogins,
  unlockPrivateKey,
  validFor,
} from '../../../provision/keys/key-folder.ts'
import { contentOf, find, init, problemsIn } from './folders.ts'
import { knoxError, NOW, noSshKeygen, passphrase, sshKeygen, tempFolder } from './helpers.ts'

const wrong = new Secret('passphrase', 'incorrect horse')

describe('signLogins', () => {
  const serials = async (folder: string) =>
    (await listKeys(folder, NOW)).flatMap(({ certificate }) =>
      certificate === undefined ? [] : [Number(certificate.serial)],
    )

  test('serials begin at 1 and each new certificate takes the highest plus one', async (t) => {
    const folder = await init(t)
    assert.deepEqual(await serials(folder), [1, 2, 3])
    await signLogins(folder, { passphrase, logins: ['knox-fifo'] })
    assert.deepEqual(await serials(folder), [1, 4, 3])
    await signLogins(folder, { passphrase })
    assert.deepEqual(await serials(folder), [5, 6, 7])
    await signLogins(folder, { passphrase, logins: ['knox-send'], serial: 100n })
    assert.deepEqual(await serials(folder), [5, 6, 100])
  })

  test('keys stay as they are, certificates are valid as asked', async (t) => {
    const folder = await init(t)
    const old = await contentOf(folder)
    await signLogins(folder, { passphrase, validity: validFor(30, NOW), sourceAddress: ['10.0.0.0/8'] })
    const after = await contentOf(folder)
    for (const file of MADE_FILES) {
      const same = after[join(folder, file)] === old[join(folder, file)]
      assert.equal(same, !file.endsWith('-cert.pub'), file)
    }
    const keys = await listKeys(folder, NOW)
    assert.deepEqual(problemsIn(keys), {})
    for (const login of LOGINS) {
      const { certificate } = find(keys, `${login}-cert.pub`)
      assert.equal(certificate?.validBefore, '2026-12-23T12:00:00Z')
      assert.equal(certificate.validAfter, '2015-01-01T00:00:00Z')
      assert.deepEqual(certificate.sourceAddress, ['10.0.0.0/8'])
    }
  })

  test('source addresses stay unless others are given; an empty list lifts them', async (t) => {
    const folder = await init(t)
    const sources = async () =>
      (await listKeys(folder, NOW)).flatMap(({ certificate }) => certificate?.sourceAddress ?? [])
    await signLogins(folder, { passphrase, logins: ['knox-send'], sourceAddress: ['10.0.0.0/8'] })
    await renewLogins(folder, { passphrase })
    assert.deepEqual(await sources(), ['10.0.0.0/8'])
    await signLogins(folder, { passphrase, sourceAddress: [] })
    assert.deepEqual(await sources(), [])
  })

  test('a wrong passphrase is rejected and changes nothing', async (t) => {
    const folder = await init(t)
    const old = await contentOf(folder)
    await assert.rejects(signLogins(folder, { passphrase: wrong }), knoxError('key-rejected'))
    await assert.rejects(renewLogins(folder, { passphrase: wrong }), knoxError('key-rejected'))
    assert.deepEqual(await contentOf(folder), old)
  })

  test('a certificate that is gone is made anew, one that is damaged is not passed over', async (t) => {
    const folder = await init(t)
    await unlink(join(folder, 'knox-shell-cert.pub'))
    await signLogins(folder, { passphrase, logins: ['knox-shell'] })
    assert.deepEqual(await serials(folder), [4, 2, 3])
    await writeFile(join(folder, 'knox-send-cert.pub'), 'garbage')
    await assert.rejects(
      signLogins(folder, { passphrase }),
      knoxError('config', /knox-send-cert.pub is damaged/),
    )
  })

  test('a CA key whose public file is another key’s signs nothing', async (t) => {
    const folder = await init(t)
    await writeFile(join(folder, 'knox-ca.pub'), publicKeyLine(makeKeyPair().publicKey, 'knox-ca'))
    await assert.rejects(signLogins(folder, { passphrase }), knoxError('config', /not one key pair/))
  })

  test('a folder without keys is named, with the way out', async (t) => {
    const folder = await tempFolder(t)
    for (const work of [signLogins(folder, { passphrase }), planSigning(folder, {}), listKeys(folder)])
      await assert.rejects(work, knoxError('config', /there are no keys in/))
  })
})

describe('renewLogins', () => {
  test('the login has a new key and a certificate for it, the others keep theirs', async (t) => {
    const folder = await init(t)
    const old = await contentOf(folder)
    await renewLogins(folder, { passphrase, logins: ['knox-shell'] })
    const after = await contentOf(folder)
    for (const file of MADE_FILES) {
      const same = after[join(folder, file)] === old[join(folder, file)]
      assert.equal(same, !file.startsWith('knox-shell'), file)
    }
    const keys = await listKeys(folder, NOW)
    assert.deepEqual(problemsIn(keys), {})
    assert.equal(find(keys, 'knox-shell').encrypted, true)
    assert.equal((await stat(join(folder, 'knox-shell'))).mode & 0o777, 0o600)
    assert.deepEqual((await readdir(folder)).sort(), [...MADE_FILES].sort())
  })
})

describe('listKeys', () => {
  test('every file is listed with what it is', async (t) => {
    const keys = await listKeys(await init(t), NOW)
    assert.deepEqual(keys.map(({ file }) => file).sort(), ['./', ...MADE_FILES].sort())
    assert.equal(find(keys, 'knox-ca').encrypted, true)
    assert.equal(find(keys, 'knox-fifo').encrypted, false)
    assert.deepEqual(find(keys, 'knox-fifo-cert.pub').certificate, {
      keyId: 'knox-fifo',
      serial: '2',
      principals: ['root'],
      validAfter: 'always',
      validBefore: 'forever',
      forcedCommand: '/root/knox-zfs-receive.sh key',
      sourceAddress: [],
      extensions: [],
    })
    assert.ok(JSON.stringify(keys).includes('"serial":"2"'))
  })

  test('missing files, open modes and expired certificates are problems', async (t) => {
    const folder = await init(t)
    await unlink(join(folder, 'knox-fifo'))
    await chmod(join(folder, 'geli.key'), 0o640)
    await chmod(folder, 0o750)
    await signLogins(folder, { passphrase, logins: ['knox-send'], validity: validFor(1, NOW) })
    const keys = await listKeys(folder, new Date('2026-12-01T00:00:00Z'))
    assert.deepEqual(problemsIn(keys), {
      './': ['others may enter it'],
      'knox-fifo': ['it is missing'],
      'geli.key': ['others may read it'],
      'knox-send-cert.pub': ['it expired at 2026-11-24T12:00:00Z'],
    })
    assert.equal(find(keys, 'knox-fifo').missing, true)
    assert.equal(find(keys, 'geli.key').tooOpen, true)
  })

  test('files that do not belong together are problems', async (t) => {
    const [folder, other] = [await init(t), await init(t, 'other')]
    for (const file of ['knox-ca.pub', 'knox-send']) await rename(join(other, file), join(folder, file))
    await rename(join(folder, 'knox-fifo-cert.pub'), join(folder, 'knox-send-cert.pub'))
    const problems = problemsIn(await listKeys(folder, NOW))
    assert.deepEqual(problems['knox-ca.pub'], ['it does not belong to knox-ca'])
    assert.deepEqual(problems['knox-send.pub'], ['it does not belong to knox-send'])
    assert.deepEqual(problems['knox-shell-cert.pub'], ['it is not signed by knox-ca'])
    assert.deepEqual(problems['knox-send-cert.pub'], [
      'it is not signed by knox-ca',
      'it does not belong to knox-send',
      'its forced command is not /root/knox-zfs-receive.sh session',
    ])
  })

  test('damaged files are problems, never a crash', async (t) => {
    const folder = await init(t)
    for (const file of MADE_FILES) await writeFile(join(folder, file), 'garbage')
    const keys = await listKeys(folder, NOW)
    for (const key of keys) assert.equal(key.problems.length > 0, key.kind !== 'folder', key.file)
  })
})

describe('unlockPrivateKey', () => {
  test('the key comes out decrypted, as a Secret that ssh-keygen opens', { skip: noSshKeygen }, async (t) => {
    const folder = await init(t)
    const key = await unlockPrivateKey(folder, 'knox-shell', passphrase)
    assert.equal(String(key), '[secret private key file]')
    const { stdout } = await sshKeygen(t, key.reveal(), '-y', '-P', '')
    assert.equal(stdout, await readFile(join(folder, 'knox-shell.pub'), 'utf8'))
  })

  test('a wrong passphrase is rejected', async (t) => {
    await assert.rejects(unlockPrivateKey(await init(t), 'knox-shell', wrong), knoxError('key-rejected'))
  })

  test('a key file that others may read, or that is missing, is refused', async (t) => {
    const folder = await init(t)
    await chmod(join(folder, 'knox-shell'), 0o644)
    await assert.rejects(unlockPrivateKey(folder, 'knox-shell', passphrase), knoxError('config', /by others/))
    await unlink(join(folder, 'knox-shell'))
    await assert.rejects(unlockPrivateKey(folder, 'knox-shell', passphrase), knoxError('config', /missing/))
  })
})
