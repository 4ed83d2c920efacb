import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { openingCommands, seal, unseal } from '../../../provision/keys/sealed-file.ts'
import { packUstar, unpackUstar } from '../../../provision/keys/ustar.ts'
import { knoxError, passphrase, PASSPHRASE, run, tempFolder } from './helpers.ts'

const plain = packUstar([{ name: 'geli.key', data: Buffer.alloc(1024, 9) }])
const sealed = seal(plain, passphrase)

test('opens with its passphrase, and with no other', () => {
  assert.ok(unseal(sealed, passphrase).equals(plain))
  assert.throws(() => unseal(sealed, new Secret('passphrase', 'another one')), knoxError('key-rejected'))
  assert.ok(!sealed.equals(seal(plain, passphrase)))
  assert.ok(!sealed.includes('geli.key'))
})

test('a changed bit anywhere in it is found, and a cut end (facts 11.26)', () => {
  const members = unpackUstar(sealed)
  for (const { name, data } of members)
    for (const at of [0, 9, 40, data.length - 1]) {
      const changed = Buffer.from(data)
      changed[at] = changed.readUInt8(at) ^ 1
      const bad = packUstar(members.map((one) => (one.name === name ? { name, data: changed } : one)))
      assert.throws(
        () => unseal(bad, passphrase),
        /wrong, or the file is damaged|changed or is damaged/,
        `${name} ${at}`,
      )
    }
  for (const length of [0, 1, 511, 600, 1600, sealed.length - 1024])
    assert.throws(() => unseal(sealed.subarray(0, length), passphrase), knoxError('verification'))
  assert.throws(() => unseal(Buffer.from('no such file'), passphrase), knoxError('verification'))
  const swapped = packUstar(
    members.map((one) => (one.name === 'mac-key' ? unpackUstar(seal(plain, passphrase))[1]! : one)),
  )
  assert.throws(() => unseal(swapped, passphrase), knoxError('verification'))
})

test('the two printed commands check and open it, the passphrase typed at a terminal', async (t) => {
  const dir = await tempFolder(t)
  await mkdir(join(dir, 'a place'))
  const file = join(dir, 'a place', 'knox keys.tar')
  await writeFile(file, sealed)
  const [check, open] = openingCommands(file)
  const typed = async (command: string, word: string) => {
    await writeFile(join(dir, 'line'), `cd '${dir}' && ${command}\n`)
    return run(['script', '-qec', `/bin/sh '${dir}/line'`, '/dev/null'], `${word}\n`)
  }
  const checked = await typed(check, PASSPHRASE)
  assert.deepEqual([checked.code, /unchanged/.test(checked.stdout)], [0, true], checked.stdout)
  assert.equal((await typed(open, PASSPHRASE)).code, 0)
  assert.ok((await readFile(join(dir, 'geli.key'))).equals(Buffer.alloc(1024, 9)))
  assert.notEqual((await typed(check, 'another one')).code, 0)
  const members = unpackUstar(sealed)
  const cut = members.map((one) => (one.name === 'data' ? { ...one, data: one.data.subarray(0, -16) } : one))
  await writeFile(file, packUstar(cut))
  const found = await typed(check, PASSPHRASE)
  assert.deepEqual([found.code === 0, /unchanged/.test(found.stdout)], [false, false], found.stdout)
})

test('docs/keys.md has the very commands', async () => {
  const docs = await readFile(join(import.meta.dirname, '../../../docs/keys.md'), 'utf8')
  for (const command of openingCommands('knox-keys.tar')) assert.ok(docs.includes(`\n${command}\n`), command)
})
