import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { checkingSteps } from '../../../provision/image/customise-check.ts'
import { customiseActions, DEFAULT_TIME } from '../../../provision/image/customise.ts'
import { overlayOf, readBoxKeys } from '../../../provision/image/overlay.ts'
import { perform } from '../../../provision/image/steps.ts'
import { recordUnit, takeDown, workplaceOf } from '../../../provision/image/workplace.ts'
import { HERE, runnerAt, type Place } from '../../../provision/system/runner.ts'
import { knoxError, thrownBy } from '../../support/expect.ts'
import { imageBytes, imageWorld, treeOf, workOf, type ImageWorld } from '../../support/image-world.ts'

/** Everything that can go wrong with an image, and what is left of it then: nothing. */

/** This machine, with a look at every command before it runs. */
const watched = (before: (argv: readonly string[]) => readonly string[]): Place => ({
  name: 'home',
  wrap: before,
  failures: [],
})

/** Does something to the image between the writing and the reading. */
const tampered = (tamper: () => void): Place =>
  watched((argv) => {
    if (argv.includes('readonly')) tamper()
    return argv
  })

describe('a setting that did not take', () => {
  type Tamper = (root: string, one: ImageWorld) => void
  const cases: Readonly<Record<string, readonly [RegExp, Tamper]>> = {
    'another content': [/rc\.conf has another content/, (root) => rewrite(join(root, 'etc/rc.conf'), 'x')],
    'another host key': [
      /ed25519_key has another content/,
      (root) => rewrite(join(root, 'etc/ssh/ssh_host_ed25519_key'), 'x'),
    ],
    'another mode': [
      /entropy has the mode 0644, not 0600/,
      (root) => chmodSync(join(root, 'entropy'), 0o644),
    ],
    'a script that cannot run': [
      /has the mode 0600, not 0700/,
      (root) => chmodSync(join(root, 'root/knox-zfs-receive.sh'), 0o600),
    ],
    'another time': [/hostid has another time/, (root) => utimesSync(join(root, 'etc/hostid'), 1, 1)],
    'another owner': [
      /\/etc\/ssh\/knox-ca belongs to 1001:0/,
      (root) => writeFileSync(`${root}.owners`, '1001:0 /etc/ssh/knox-ca\n'),
    ],
    'a folder of somebody else': [
      /\/etc belongs to 1001:1001/,
      (root) => writeFileSync(`${root}.owners`, '1001:1001 /etc\n'),
    ],
    'a folder open to others': [
      /\/root can be written by others: 0777/,
      (root) => chmodSync(join(root, 'root'), 0o777),
    ],
    'a file that is gone': [/missing in the image/, (root) => rmSync(join(root, 'etc/ttys'))],
    'a link in place of a file': [
      /fstab is not a file/,
      (root) => {
        rmSync(join(root, 'etc/fstab'))
        symlinkSync('/x', join(root, 'etc/fstab'))
      },
    ],
    'a link elsewhere': [
      /resolv\.conf points elsewhere/,
      (root) => {
        rmSync(join(root, 'etc/resolv.conf'))
        symlinkSync('/x', join(root, 'etc/resolv.conf'))
      },
    ],
    'a mount point that is gone': [
      /missing in the image/,
      (root) => rmSync(join(root, 'boot/msdos'), { recursive: true }),
    ],
    'a first boot': [/firstboot is still there/, (root) => writeFileSync(join(root, 'firstboot'), '')],
    'a second rc.conf': [
      /rc\.conf\.local is still there/,
      (root) => writeFileSync(join(root, 'etc/rc.conf.local'), ''),
    ],
    'another host key beside': [
      /ssh_host_rsa_key is still there/,
      (root) => writeFileSync(join(root, 'etc/ssh/ssh_host_rsa_key'), ''),
    ],
    'an empty password': [
      /password of root is not closed/,
      (root) => edit(join(root, 'etc/master.passwd'), /^root:\*:/m, 'root::'),
    ],
    'a locked account': [
      /password of root is not closed/,
      (root) => edit(join(root, 'etc/master.passwd'), /^root:\*:/m, 'root:*LOCKED*:'),
    ],
    'no root': [
      /there is no account root/,
      (root) => edit(join(root, 'etc/master.passwd'), /^root:.*\n/m, ''),
    ],
    'a database from before': [
      /spwd\.db does not close/,
      (root) => writeFileSync(join(root, 'etc/spwd.db'), 'old'),
    ],
    'a database with an empty password': [
      /spwd\.db has root without a password/,
      (root) => writeFileSync(join(root, 'etc/spwd.db'), `root\0*\0root${'\0'.repeat(12)}`),
    ],
    'a database with a hash': [
      /spwd\.db still holds a password/,
      (root) => writeFileSync(join(root, 'etc/spwd.db'), 'root\0*\0freebsd\0$6$abc$def\0'),
    ],
    'no zfs module': [/lacks zfs\.ko in/, (root) => rmSync(join(root, 'boot/kernel/zfs.ko'))],
    'no opensolaris module': [
      /lacks opensolaris\.ko/,
      (root) => rmSync(join(root, 'boot/kernel/opensolaris.ko')),
    ],
    'no kernel': [/lacks kernel/, (root) => rmSync(join(root, 'boot/kernel/kernel'))],
    'no U-Boot, which config.txt names': [
      /lacks u-boot\.img/,
      (_, one) => rmSync(join(one.boot, 'u-boot.img')),
    ],
    'no loader for U-Boot': [/lacks ubldr/, (_, one) => rmSync(join(one.boot, 'ubldr'))],
    'no firmware': [/no firmware/, (_, one) => rmSync(join(one.boot, 'START.ELF'))],
    'a root file system with a fault': [
      /root file system.*damaged[^]*UNREF FILE/,
      (root) => writeFileSync(`${root}.broken`, 'UNREF FILE I=7\n'),
    ],
    'a FAT with a fault': [
      /FAT file system.*damaged[^]*Cluster 9 invalid/,
      (_, one) => writeFileSync(`${one.boot}.broken`, 'Cluster 9 invalid\n'),
    ],
    'a file system that is not clean': [
      /not unmounted cleanly/,
      (root) => writeFileSync(`${root}.dirty`, ''),
    ],
    'another partition table': [
      /s2 is not a FreeBSD slice/,
      (root) => writeFileSync(join(root, '../gpart'), 'MBR 4\n1 !12 63 34776\n'),
    ],
  }
  const rewrite = (path: string, text: string): void => {
    const { mtime } = lstatSync(path)
    writeFileSync(path, text)
    utimesSync(path, mtime, mtime)
  }
  const edit = (path: string, pattern: RegExp, text: string): void =>
    writeFileSync(path, readFileSync(path, 'utf8').replace(pattern, text))

  test('is an error, whichever it is', async (t) => {
    const one = await imageWorld(t)
    await one.customise()
    const content = join(one.root, '..')
    cpSync(content, `${content}.good`, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
    const runner = runnerAt(HERE, () => undefined)
    const place = workplaceOf(one.image)
    const overlay = await overlayOf(one.config.box, await readBoxKeys(one.keys))
    const plan = { place, unit: 3, box: one.config.box, overlay, time: DEFAULT_TIME }
    const check = async () => {
      await runner.act(recordUnit(place, 3))
      try {
        for (const { commands } of checkingSteps(plan, { release: '', published: [], warnings: [] }))
          for (const command of commands) await perform(runner, command)
      } finally {
        await takeDown(runner, place)
      }
    }
    await check()
    for (const [what, [pattern, tamper]] of Object.entries(cases)) {
      rmSync(content, { recursive: true })
      cpSync(`${content}.good`, content, {
        recursive: true,
        preserveTimestamps: true,
        verbatimSymlinks: true,
      })
      tamper(one.root, one)
      const error = await thrownBy(check)
      assert.ok(error instanceof KnoxError, what)
      assert.equal(error.code, what === 'another partition table' ? 'config' : 'verification', what)
      assert.match([error.message, ...error.hints].join('\n'), pattern, what)
      assert.deepEqual(await one.leftovers(), [], what)
    }
  })

  test('ends the whole run, and nothing stays attached', async (t) => {
    const one = await imageWorld(t)
    // the disk is in use for a moment: that is no failure of the run
    writeFileSync(join(one.world, 'busy'), '')
    const place = tampered(() => chmodSync(join(one.root, 'entropy'), 0o644))
    await assert.rejects(one.customise({ place }), knoxError('verification', /entropy has the mode 0644/))
    assert.ok(!existsSync(join(one.world, 'busy')))
    assert.deepEqual(await one.leftovers(), [])
  })
})

/** Commands that change nothing: ending before one leaves what ending before the next other one leaves. */
const READS =
  /^(?:\/bin\/sh -c n=0|\/bin\/sh -c fsck_msdosfs|\/bin\/sh -c cat|cat|stat|sha256|readlink|find|od|fsck_ufs -[Cf])\b/

/** Where in the list the changes stand, and of the commands that only read the first of each program. */
const telling = (actions: readonly (readonly string[])[], withReads: boolean): readonly number[] => {
  const seen = new Set<string | undefined>()
  return [...actions.entries()].flatMap(([index, argv]) => {
    if (!READS.test(argv.join(' '))) return [index]
    const isNew = !seen.has(argv.slice(0, 3).join(' ').slice(0, 14))
    seen.add(argv.slice(0, 3).join(' ').slice(0, 14))
    return withReads && isNew ? [index] : []
  })
}

describe('when a command fails', () => {
  test('whichever it is, it is said, nothing is left, and the next run finishes', async (t) => {
    const one = await imageWorld(t)
    const actions = workOf(await customiseActions(one.config, one.image))
    await one.customise()
    const good = treeOf(one.root)
    const indexes = telling(actions, true)
    assert.ok(indexes.length > 25, `${indexes.length}`)
    for (const index of indexes) {
      let count = -1
      const place = watched((argv) => {
        if (argv.join().includes('umask 077; mkdir')) count = 0
        else if (count >= 0) count += 1
        return count === index ? ['false'] : argv
      })
      const error = await thrownBy(() => one.customise({ place }))
      assert.ok(error instanceof Error && !(error instanceof TypeError), actions[index]?.join(' '))
      assert.deepEqual(await one.leftovers(), [], actions[index]?.join(' '))
    }
    await one.customise()
    assert.equal(treeOf(one.root), good)
  })
})

/** Runs it with only these commands failing for ever, from the n-th on: as if knox had been killed before it. */
const killedBefore = async (one: ImageWorld, index: number): Promise<void> => {
  let count = -1
  const place = watched((argv) => {
    if (argv.join().includes('umask 077; mkdir')) count = 0
    else if (count >= 0) count += 1
    if (count >= index) throw new Error('killed')
    return argv
  })
  await assert.rejects(one.customise({ place }))
}

describe('when knox is killed', () => {
  test('between any two changes, the next run takes down what is left and finishes', async (t) => {
    const one = await imageWorld(t)
    const actions = workOf(await customiseActions(one.config, one.image))
    await one.customise()
    const good = treeOf(one.root)
    let left = 0
    const indexes = telling(actions, false)
    assert.equal(indexes.length, 19)
    for (const index of indexes) {
      await killedBefore(one, index)
      left += (await one.leftovers()).length
    }
    assert.ok(left > 2 * indexes.length, 'it did leave something')
    await one.customise()
    assert.equal(treeOf(one.root), good)
    assert.deepEqual(await one.leftovers(), [])
  })

  test('while the accounts are closed, what pwd_mkdb has left is no obstacle', async (t) => {
    const one = await imageWorld(t)
    for (const name of ['pwd.db.tmp', 'spwd.db.tmp', 'knox.passwd', 'knox.passwd.orig'])
      writeFileSync(join(one.pristine, 's2a/etc', name), 'left')
    await one.customise()
    assert.ok(!existsSync(join(one.root, 'etc/spwd.db.tmp')))
  })

  test('what it had attached goes, what others have attached stays', async (t) => {
    const one = await imageWorld(t)
    const other = join(one.dir, 'other.img')
    writeFileSync(other, imageBytes('crochet'))
    spawnSync('mdconfig', ['-a', '-t', 'vnode', '-f', other, '-u', '0'])
    await killedBefore(one, 6)
    assert.deepEqual((await one.leftovers()).slice(0, 2), ['md0', 'md1'])
    await one.customise()
    assert.deepEqual(await one.leftovers(), ['md0'])
  })

  test('a unit that is written down and is another’s by now is left alone', async (t) => {
    const one = await imageWorld(t)
    await killedBefore(one, 1)
    const other = join(one.dir, 'other.img')
    writeFileSync(other, imageBytes('crochet'))
    spawnSync('mdconfig', ['-a', '-t', 'vnode', '-f', other, '-u', '0'])
    await one.customise()
    assert.deepEqual(await one.leftovers(), ['md0'])
  })
})
