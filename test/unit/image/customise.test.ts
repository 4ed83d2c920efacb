import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { lstat, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { bytesOf } from '../../../provision/image/archive.ts'
import type { Event } from '../../../provision/core/events.ts'
import { customiseActions } from '../../../provision/image/customise.ts'
import { fromImage, fromImageActions } from '../../../provision/image/from-image.ts'
import { overlayOf, readBoxKeys } from '../../../provision/image/overlay.ts'
import { imageBytes, imageWorld, treeOf, type ImageWorld } from '../../support/image-world.ts'
import { AUTHORITY_OF_THE_TUTORIAL } from './tutorial-keys.ts'

/** An image made into the box's own, on a build host of stand-ins that refuse what FreeBSD 10.2 refuses. */

const commandsOf = (one: ImageWorld): readonly string[] =>
  one.events.flatMap((event) => (event.type === 'command' ? [event.argv.join('\0')] : []))

describe('a customised image', () => {
  test('holds every file of the box, and nothing is left of the work', async (t) => {
    const one = await imageWorld(t)
    const done = await one.customise()
    for (const file of await overlayOf(one.config.box, await readBoxKeys(one.keys))) {
      const path = join(one.root, file.path)
      const info = await lstat(path)
      const bytes = bytesOf(file)
      if (bytes === undefined) assert.equal(await readlink(path), '/var/run/resolv.conf')
      else {
        assert.ok((await readFile(path)).equals(bytes), file.path)
        assert.equal(info.mode & 0o7777, file.mode, file.path)
        assert.equal(info.mtime.toISOString(), '2016-02-16T00:00:00.000Z', file.path)
      }
    }
    assert.deepEqual((await readdir(join(one.root, 'etc/ssh'))).sort(), [
      ...['knox-ca', 'ssh_host_ed25519_key', 'ssh_host_ed25519_key.pub', 'sshd_config'],
    ])
    for (const gone of ['firstboot', 'etc/rc.conf.local', 'etc/rc.conf.d'])
      assert.ok(!existsSync(join(one.root, gone)), gone)
    for (const folder of ['boot/msdos', 'tmp', 'var']) assert.ok(existsSync(join(one.root, folder)), folder)
    assert.equal((await lstat(join(one.root, 'etc'))).mode & 0o7777, 0o755)
    assert.deepEqual(await one.leftovers(), [])
    assert.equal(done.release, '10.2-RELEASE-p12')
    assert.equal(done.files.length, 15)
    assert.match(done.hostKeyFingerprint, /^SHA256:/)
    assert.deepEqual([done.replacedKeys, done.warnings], [[], []])
    const secret = done.files.filter(({ path }) => /entropy|_key$/.test(path))
    assert.deepEqual(
      secret.map(({ mode, sha256 }) => [mode, sha256]),
      [
        ['0600', undefined],
        ['0600', undefined],
      ],
    )
  })

  test('of an official release has no account that a password opens, and no swap, which is said', async (t) => {
    const one = await imageWorld(t, 'official')
    const { warnings, release } = await one.customise()
    assert.deepEqual(warnings, ['the image has no slice s3 for mmcsd0s3: the box will run without swap'])
    assert.equal(release, '13.2-RELEASE')
    assert.equal(one.events.filter(({ type }) => type === 'warning').length, 1)
    const text = readFileSync(join(one.root, 'etc/master.passwd'), 'utf8')
    assert.match(text, /^# \$FreeBSD\$\n#\nroot:\*:0:0::0:0:Charlie &:\/root:\/bin\/csh\ntoor:\*:/)
    assert.match(text, /^freebsd:\*:1001:1001:/m)
    assert.ok(!readFileSync(join(one.root, 'etc/spwd.db'), 'latin1').includes('$6$'))
    assert.equal((await lstat(join(one.root, 'etc/spwd.db'))).mode & 0o7777, 0o600)
    assert.equal((await lstat(join(one.root, 'etc/passwd'))).mode & 0o7777, 0o644)
  })

  test('that held the tutorial’s keys does so no more, which is said (S8, facts 11.29)', async (t) => {
    const one = await imageWorld(t)
    await writeFile(join(one.pristine, 's2a/etc/ssh/knox-ca'), `${AUTHORITY_OF_THE_TUTORIAL} hugh@local\n`)
    const { replacedKeys } = await one.customise()
    assert.deepEqual(replacedKeys, ['the authority of the tutorial’s image'])
    const said = one.events.flatMap((event) => (event.type === 'note' ? [event.text] : []))
    assert.match(said.join(), /the authority of the tutorial.*replaced by your own/)
    const there = readFileSync(join(one.root, 'etc/ssh/knox-ca'), 'utf8')
    assert.equal(there, readFileSync(join(one.keys, 'knox-ca.pub'), 'utf8').replace(/ test\n$/, ' knox-ca\n'))
  })

  test('was changed by the commands that a dry run prints, and only those', async (t) => {
    const one = await imageWorld(t)
    await one.customise()
    const printed = (await customiseActions(one.config, one.image)).map((argv) => argv.join('\0'))
    assert.deepEqual(commandsOf(one), printed)
    const other = await imageWorld(t)
    const { folder, ...rest } = { folder: other.keys, config: one.config }
    const work = `${other.dir}/work.img`
    const sha256 = createHash('sha256').update(imageBytes('crochet')).digest('hex')
    const emit = (event: Event) => void other.events.push(event)
    const { signal } = new AbortController()
    await fromImage({ from: other.image, work, sha256, folder, emit, signal, ...rest })
    const plan = await fromImageActions({ from: other.image, work, ...rest })
    assert.deepEqual(
      commandsOf(other),
      plan.map((argv) => argv.join('\0')),
    )
  })

  test('comes out the same from the same input, even from a used one', async (t) => {
    const one = await imageWorld(t)
    await one.customise()
    const [first, bytes] = [treeOf(one.root), await readFile(one.image)]
    await one.customise()
    assert.equal(treeOf(one.root), first)
    assert.ok((await readFile(one.image)).equals(bytes))
    const other = await imageWorld(t)
    await other.customise()
    assert.equal(treeOf(other.root), first)
  })
})
