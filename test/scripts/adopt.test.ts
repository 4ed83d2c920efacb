import assert from 'node:assert/strict'
import { lstat, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { adoptWords, noSandbox, OLD, startSandbox } from '../support/adopt/sandbox.ts'

/** `knox adopt` as it is typed, against a real sshd on loopback. */

const skip = noSandbox() ?? false

describe('knox adopt', { skip, concurrency: 2 }, () => {
  test('makes the box of a machine: the certificate gets in, the plain key does not, the old files are kept', async (t) => {
    const box = await startSandbox(t)
    assert.equal((await box.oldWay()).code, 0)
    const { code, stdout, stderr } = await box.knox(...adoptWords(box, '--yes', '--reboot'))
    assert.equal(code, 0, stderr + stdout)
    assert.equal(await box.newWay(), true)
    assert.equal((await box.oldWay()).code, 255)
    const [kept = ''] = await readdir(join(box.dir, 'root/knox-before'))
    const old = join(box.dir, 'root/knox-before', kept)
    assert.equal((await lstat(old)).mode & 0o777, 0o700)
    const list = (await readFile(join(old, 'list'), 'utf8')).split('\n')
    const number = list.find((line) => line.endsWith(' /etc/rc.conf'))?.split(' ')[0] ?? ''
    assert.equal(await readFile(join(old, 'old', number), 'utf8'), OLD['etc/rc.conf'])
  })
  test('--dry-run shows the differences and changes nothing', async (t) => {
    const box = await startSandbox(t)
    const { code, stdout, stderr } = await box.knox(...adoptWords(box, '--dry-run'))
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^-\/dev\/full\tnone\tswap\tsw\t0\t0$/m)
    assert.match(stdout, /^\+\/dev\/full\.eli\tnone\tswap\tsw\t0\t0$/m)
    assert.match(stdout, /private, not shown/)
    assert.deepEqual((await readdir(join(box.dir, 'root'))).includes('knox-before'), false)
    assert.equal(await box.file('/etc/rc.conf'), OLD['etc/rc.conf'])
    assert.equal((await box.oldWay()).code, 0)
  })
  test('what is not FreeBSD is left alone, with 15', async (t) => {
    const box = await startSandbox(t, (dir) => writeFile(join(dir, 'root/.system'), 'Linux\n'))
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 15, stderr)
    assert.match(stderr, /runs Linux, not FreeBSD/)
  })
})
