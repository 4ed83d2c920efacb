import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { tempFolder } from '../support/expect.ts'
import { imageOf, keyFilesOf, plaintextOf, sha256, vectors, type Vector } from '../unit/geli/vectors.ts'

/** `knox rescue` as it is typed, on images that FreeBSD's own code has written. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')

const vectorOf = (name: string): Vector => {
  const found = vectors.find((vector) => vector.name === name)
  assert.ok(found, name)
  return found
}

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const ended = (child: ChildProcess): Promise<Ran> =>
  new Promise((done) => {
    let [stdout, stderr] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('close', (code) => done({ code, stdout, stderr }))
  })

const start = (...words: readonly string[]) =>
  spawn(process.execPath, [KNOX, 'rescue', ...words], { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 })

const rescue = (...words: readonly string[]): Promise<Ran> => ended(start(...words))

/** The image of a vector and its key files, as files. */
const laidOut = async (t: TestContext, name: string) => {
  const vector = vectorOf(name)
  const folder = await tempFolder(t)
  const disk = join(folder, 'disk.img')
  await writeFile(disk, imageOf(vector) ?? assert.fail(`${name} has no image`))
  const keys = await Promise.all(
    keyFilesOf(vector.keyfiles).map(async (key, n) => {
      const path = join(folder, `key${n}`)
      await writeFile(path, key, { mode: 0o600 })
      return ['--key', path]
    }),
  )
  return { vector, folder, disk, key: keys.flat() }
}

const has = (program: string): boolean => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0

describe('knox rescue info', { concurrency: true }, () => {
  test('tells what a disk is without its key', async (t) => {
    const { disk } = await laidOut(t, 'v7-xts128-s4096')
    const { code, stdout } = await rescue('info', disk)
    assert.equal(code, 0)
    assert.match(
      stdout,
      /version 7\nAES-XTS 128, sectors of 4096 bytes[^]*opens with: key file \(key slot 0\)/,
    )
    const { stdout: json } = await rescue('info', disk, '--json')
    assert.equal((JSON.parse(json) as { decryptedSize: number }).decryptedSize, 258_048)
  })

  test('says what is wrong: damaged metadata 14, no GELI disk 14, another size 14, no such disk 21, no verb 2', async (t) => {
    const damaged = await laidOut(t, 'v7-damaged-md5')
    assert.deepEqual((await rescue('info', damaged.disk)).code, 14)
    const plain = join(damaged.folder, 'plain')
    await writeFile(plain, Buffer.alloc(65_536))
    const none = await rescue('info', plain)
    assert.equal(none.code, 14)
    assert.match(none.stderr, /no GELI metadata[^]*hint: is this the whole provider/)
    const grown = await laidOut(t, 'v7-xts128-s4096')
    const image = await readFile(grown.disk)
    await writeFile(grown.disk, Buffer.concat([Buffer.alloc(4096), image]))
    const bigger = await rescue('info', grown.disk)
    assert.equal(bigger.code, 14)
    assert.match(bigger.stderr, /262144 bytes, and this one has 266240/)
    const absent = await rescue('info', join(damaged.folder, 'absent'))
    assert.equal(absent.code, 21)
    assert.match(absent.stderr, /no such file or device/)
    assert.equal((await rescue('look', plain)).code, 2)
  })
})

describe('knox rescue decrypt', { concurrency: true }, () => {
  for (const name of ['v7-xts128-s4096', 'v6-xts128-s4096', 'v7-cbc128-s512'])
    test(`makes a file of mode 0600 with what FreeBSD would show: ${name}`, async (t) => {
      const { vector, folder, disk, key } = await laidOut(t, name)
      const to = join(folder, 'plain')
      const before = await readFile(disk)
      const { code, stderr } = await rescue('decrypt', disk, ...key, '--to', to)
      assert.equal(code, 0, stderr)
      assert.equal(sha256(await readFile(to)), vector.eli.plaintext_sha256)
      assert.equal(statSync(to).mode & 0o777, 0o600)
      assert.deepEqual(await readFile(disk), before, 'the disk was not changed')
    })

  test('takes a passphrase beside the key file', async (t) => {
    const { vector, folder, disk, key } = await laidOut(t, 'v7-pass-keyfile-i2000')
    const passphrase = join(folder, 'passphrase')
    await writeFile(passphrase, `${vector.passphrase ?? ''}\n`, { mode: 0o600 })
    const to = join(folder, 'plain')
    const words = ['decrypt', disk, ...key, '--passphrase-file', passphrase, '--to', to]
    const { code, stderr } = await rescue(...words)
    assert.equal(code, 0, stderr)
    assert.equal(sha256(await readFile(to)), vector.eli.plaintext_sha256)
  })

  test('with a wrong key ends with 12 and leaves no file; over a file with 4; without a key with 2', async (t) => {
    const { folder, disk, key } = await laidOut(t, 'v7-xts128-s4096')
    const [wrong, to, mine] = [join(folder, 'wrong'), join(folder, 'plain'), join(folder, 'mine')]
    await writeFile(wrong, Buffer.alloc(1024, 7), { mode: 0o600 })
    await writeFile(mine, 'mine')
    assert.equal((await rescue('decrypt', disk, '--key', wrong, '--to', to)).code, 12)
    assert.ok(!existsSync(to))
    assert.equal((await rescue('decrypt', disk, ...key, '--to', mine)).code, 4)
    assert.equal(await readFile(mine, 'utf8'), 'mine')
    assert.equal((await rescue('decrypt', disk, '--to', to)).code, 2)
  })

  test('leaves holes where nothing was ever written', async (t) => {
    const { folder, disk, key } = await laidOut(t, 'v7-xts128-s4096')
    const image = await readFile(disk)
    await writeFile(disk, Buffer.concat([Buffer.alloc(258_048), image.subarray(258_048)]))
    const to = join(folder, 'plain')
    assert.equal((await rescue('decrypt', disk, ...key, '--to', to)).code, 0)
    assert.deepEqual([statSync(to).size, statSync(to).blocks], [258_048, 0])
  })

  test('uses the metadata backup where the disk’s own are damaged', async (t) => {
    const { vector, folder, disk, key } = await laidOut(t, 'v7-xts128-s4096')
    const image = await readFile(disk)
    const backup = join(folder, 'backup')
    await writeFile(backup, image.subarray(-512))
    await writeFile(disk, Buffer.concat([image.subarray(0, -512), Buffer.alloc(512)]))
    const to = join(folder, 'plain')
    assert.equal((await rescue('decrypt', disk, ...key, '--to', to)).code, 14)
    assert.equal((await rescue('decrypt', disk, ...key, '--metadata', backup, '--to', to)).code, 0)
    assert.equal(sha256(await readFile(to)), vector.eli.plaintext_sha256)
  })
})

describe('knox rescue serve', () => {
  /** Serves until `work` is done; returns how it ended after Ctrl-C. */
  const served = async (
    t: TestContext,
    words: readonly string[],
    work: (socket: string, said: string) => Promise<void>,
  ): Promise<Ran> => {
    const socket = join(await tempFolder(t), 'knox.sock')
    const child = start('serve', ...words, '--socket', socket)
    const end = ended(child)
    const said = await new Promise<string>((done) => child.stdout.once('data', (text) => done(String(text))))
    try {
      assert.equal(statSync(socket).mode & 0o777, 0o600)
      await work(socket, said)
    } finally {
      child.kill('SIGINT')
    }
    const ran = await end
    assert.ok(!existsSync(socket), 'the socket is gone')
    return ran
  }
  const nbdcopy = has('nbdcopy')
  const skip = nbdcopy ? false : 'nbdcopy is not installed (package libnbd-bin)'

  test(
    'shows the decrypted disk to nbdcopy, says the two commands, and ends well by Ctrl-C',
    { skip },
    async (t) => {
      const { vector, folder, disk, key } = await laidOut(t, 'v7-xts128-s4096')
      const { code } = await served(t, [disk, ...key], async (socket, said) => {
        assert.match(
          said,
          /read-only[^]*nbd-client -unix .* \/dev\/nbd0\n +zpool import -o readonly=on -N -R \/mnt/,
        )
        const to = join(folder, 'copy')
        const copy = await ended(spawn('nbdcopy', [`nbd+unix:///?socket=${socket}`, to]))
        assert.equal(copy.code, 0, copy.stderr)
        assert.equal(sha256(await readFile(to)), vector.eli.plaintext_sha256)
        const info = await ended(spawn('nbdinfo', ['--json', `nbd+unix:///?socket=${socket}`]))
        assert.match(info.stdout, /"is_read_only": true/)
      })
      assert.equal(code, 0)
    },
  )

  test('read-write wants a consent, and then changes the disk', { skip }, async (t) => {
    const { vector, folder, disk, key } = await laidOut(t, 'v7-xts128-s4096')
    assert.equal((await rescue('serve', disk, ...key, '--read-write')).code, 4)
    const from = join(folder, 'new')
    const text = Buffer.from(plaintextOf(vector, 0, 258_048).map((byte) => byte ^ 0xff))
    await writeFile(from, text)
    await served(t, [disk, ...key, '--read-write', '--yes'], async (socket) => {
      const copy = await ended(spawn('nbdcopy', ['--flush', from, `nbd+unix:///?socket=${socket}`]))
      assert.equal(copy.code, 0, copy.stderr)
    })
    const to = join(folder, 'plain')
    assert.equal((await rescue('decrypt', disk, ...key, '--to', to)).code, 0)
    assert.equal(sha256(await readFile(to)), sha256(text))
  })
})
