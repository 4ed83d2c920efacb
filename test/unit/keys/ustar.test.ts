import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isMemberName, packUstar, unpackUstar } from '../../../provision/keys/ustar.ts'
import { isTame, knoxError, run, tempFolder } from './helpers.ts'

const name = fc.stringMatching(/^[A-Za-z0-9._:@+-]{1,20}(?:\/[A-Za-z0-9._:@+-]{1,20})?$/).filter(isMemberName)
const member = fc.record({
  name,
  data: fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
})
const members = fc.uniqueArray(member, { maxLength: 8, selector: (one) => one.name })

test('what is packed comes back', () => {
  fc.assert(
    fc.property(members, (list) => {
      assert.deepEqual(
        unpackUstar(packUstar(list)).map(({ name, data }) => [name, data.toString('hex')]),
        list.map(({ name, data }) => [name, data.toString('hex')]),
      )
    }),
  )
})

test('tar(1) unpacks it, with modes', async (t) => {
  const dir = await tempFolder(t)
  const list = [
    { name: 'geli.key', data: Buffer.alloc(1024, 7) },
    { name: 'replaced-2026-11-23T12:00:00.000Z/geli.key', data: Buffer.from('old') },
    { name: 'empty', data: Buffer.alloc(0) },
  ]
  await writeFile(join(dir, 'a.tar'), packUstar(list))
  await mkdir(join(dir, 'out'))
  const { code, stderr } = await run(['tar', '-xpf', join(dir, 'a.tar'), '-C', join(dir, 'out')])
  assert.deepEqual([code, stderr], [0, ''])
  for (const { name, data } of list) assert.ok((await readFile(join(dir, 'out', name))).equals(data), name)
  const { stdout } = await run(['tar', '-tvf', join(dir, 'a.tar')])
  assert.equal(stdout.match(/^-rw-------/gm)?.length, 3)
})

test('what tar(1) makes of links, folders and other paths is refused', async (t) => {
  const dir = await tempFolder(t)
  const lines = [
    'ln -s /etc/passwd a',
    'mkdir a',
    'mkdir -p a/b/c; echo x >a/b/c/d',
    'echo x >a; ln a b',
    'mkfifo a',
    'echo x >"a b"',
  ]
  for (const [index, line] of lines.entries()) {
    const made = await run([
      ...['/bin/sh', '-ec'],
      `mkdir "$1"; cd "$1"; ${line}; tar --format=ustar -cf ../"$2".tar *`,
      ...['sh', join(dir, `d${index}`), `t${index}`],
    ])
    assert.equal(made.code, 0, made.stderr)
    const archive = await readFile(join(dir, `t${index}.tar`))
    assert.throws(() => unpackUstar(archive), knoxError('verification'), line)
  }
  for (const hostile of ['../a', '/etc/passwd', 'a/../b', '.', '..', 'a/..', 'a//b', '', 'a/b/c', 'a\nb'])
    assert.equal(isMemberName(hostile), false, hostile)
})

test('any damage is an error or harmless, never a crash', () => {
  const good = packUstar([
    { name: 'a', data: Buffer.from('one') },
    { name: 'b/c', data: Buffer.alloc(700, 1) },
  ])
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bad = Buffer.from(good)
      bad[at] = bad.readUInt8(at) ^ change
      assert.ok(isTame(() => unpackUstar(bad)))
    }),
    { numRuns: 2000 },
  )
  for (let length = 0; length < good.length - 512; length += 64)
    assert.throws(() => unpackUstar(good.subarray(0, length)), knoxError('verification'))
})
