import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { Secret } from '../../../provision/core/secret.ts'
import { initKeys } from '../../../provision/keys/key-folder.ts'
import { placement } from '../../../provision/setup/placement.ts'
import { knoxError, withEnv, writeProgram } from '../../support/expect.ts'
import { worldOf } from '../../support/wizard.ts'
import { noSshd, startSshd } from '../image/sshd.ts'

/** The address in the other house: taken from whoever holds the box's host key, at whatever port, and from nobody else. */

const printOf = (file: string) =>
  spawnSync('ssh-keygen', ['-lf', file], { encoding: 'utf8' }).stdout.split(' ')[1] ?? 'none'

describe('an address in the other house', { skip: noSshd }, () => {
  const start = async (t: TestContext, answer: (ports: { box: number; stranger: number }) => string) => {
    const answers: string[] = []
    const { dir, world } = await worldOf(t, answers)
    const keys = join(dir, 'keys')
    const passphrase = new Secret('passphrase', 'long enough')
    await initKeys(keys, { boxName: 'knox', passphrase, force: false, now: new Date() })
    const other = join(dir, 'other')
    assert.equal(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other]).status, 0)
    await writeFile(join(dir, 'box'), `HostKey ${keys}/ssh_host_ed25519_key\nPasswordAuthentication no\n`)
    await writeFile(join(dir, 'stranger'), `HostKey ${other}\n`)
    const [box, stranger] = [await startSshd(t, join(dir, 'box')), await startSshd(t, join(dir, 'stranger'))]
    answers.push(answer({ box, stranger }))
    return { dir, world, keys, other, answers, yaml: () => readFile(join(dir, 'knox.yaml'), 'utf8') }
  }

  test('is written first, once the box has proved its host key at that port', async (t) => {
    const { world, yaml } = await start(t, ({ box }) => `127.0.0.1:${box}`)
    await placement.act(world)
    assert.match(await yaml(), /addresses: \[ ?127\.0\.0\.1:[0-9]+, 192\.168\.1\.13 ?\]/)
  })

  test('of another machine is refused with both fingerprints, and knox.yaml stays as it was', async (t) => {
    const { world, yaml, keys, other } = await start(t, ({ stranger }) => `127.0.0.1:${stranger}`)
    const before = await yaml()
    const [theirs, ours] = [printOf(`${other}.pub`), printOf(join(keys, 'ssh_host_ed25519_key.pub'))]
    await assert.rejects(placement.act(world), (error) =>
      [theirs, ours].every((print) =>
        knoxError('key-rejected', new RegExp(print.replaceAll('+', '\\+')))(error),
      ),
    )
    assert.equal(await yaml(), before)
  })

  test('where the box shows its key and ends the connection is no other machine: try again', async (t) => {
    const { dir, world, keys, yaml, answers } = await start(t, () => '127.0.0.1:1')
    const busy = `HostKey ${keys}/ssh_host_ed25519_key\nPasswordAuthentication no\nMaxAuthTries 0\n`
    await writeFile(join(dir, 'busy'), busy)
    answers[0] = `127.0.0.1:${await startSshd(t, join(dir, 'busy'))}`
    const before = await yaml()
    await assert.rejects(
      placement.act(world),
      knoxError('unreachable', /host key is shown at 127\.0\.0\.1:.*but it was not proved.*try again/s),
    )
    assert.equal(await yaml(), before)
  })

  describe('behind an onion service', () => {
    const ONION = `${'a'.repeat(56)}.onion`

    /** Tor for one port here. The hidden name goes to nobody else: a look past Tor leaves its mark. */
    const withTor = async (t: TestContext, dir: string, port: number) => {
      const bin = join(dir, 'bin')
      await mkdir(bin)
      const joined = `s = require("net").connect(${port}, "127.0.0.1"); process.stdin.pipe(s).pipe(process.stdout)`
      await writeProgram(
        bin,
        'nc',
        `[ "$*" = '-X 5 -x 127.0.0.1:9050 ${ONION} 22' ] || exit 64\nexec '${process.execPath}' -e '${joined}'`,
      )
      await writeProgram(bin, 'ssh-keyscan', `: >'${dir}/looked-past-tor'`)
      withEnv(t, { PATH: `${bin}:${process.env['PATH'] ?? ''}` })
    }

    test('the box is proved by way of Tor', async (t) => {
      let port = 0
      const { dir, world, yaml } = await start(t, ({ box }) => ((port = box), ONION))
      await withTor(t, dir, port)
      await placement.act(world)
      assert.match(await yaml(), new RegExp(`addresses: \\[ ?${ONION}, `))
    })

    test('another machine is refused with both fingerprints, and the name is looked up nowhere', async (t) => {
      let port = 0
      const { dir, world, yaml, keys, other } = await start(t, ({ stranger }) => ((port = stranger), ONION))
      await withTor(t, dir, port)
      const before = await yaml()
      for (const key of [`${other}.pub`, join(keys, 'ssh_host_ed25519_key.pub')])
        await assert.rejects(
          placement.act(world),
          knoxError('key-rejected', new RegExp(printOf(key).replaceAll('+', '\\+'))),
        )
      assert.equal(await yaml(), before)
      assert.ok(!(await readdir(dir)).includes('looked-past-tor'))
    })

    test('where nobody answers Tor here is asked for too', async (t) => {
      const { dir, world } = await start(t, () => ONION)
      await withTor(t, dir, 1)
      await assert.rejects(placement.act(world), knoxError('unreachable', /does Tor run here/))
      assert.ok(!(await readdir(dir)).includes('looked-past-tor'))
    })
  })

  test('at a port where nobody is forwarded to the box is told as that', async (t) => {
    const { world, yaml } = await start(t, () => '127.0.0.1:1')
    const before = await yaml()
    await assert.rejects(
      placement.act(world),
      knoxError('unreachable', /does not answer at 127\.0\.0\.1:1.*is the port forwarded/s),
    )
    assert.equal(await yaml(), before)
  })
})
