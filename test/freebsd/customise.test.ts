import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test, type TestContext } from 'node:test'
import { configSchema, type Config } from '../../provision/core/config.ts'
import { quoteAll } from '../../provision/core/quote.ts'
import { customiseActions, customiseImage } from '../../provision/image/customise.ts'
import type { Place } from '../../provision/system/runner.ts'
import { knoxError, tempFolder } from '../support/expect.ts'
import { workOf } from '../support/image-world.ts'
import { keyFiles } from '../unit/image/helpers.ts'

/**
 * An image with a real UFS, customised on a real FreeBSD: KNOX_FREEBSD_SSH='ssh -p 2222 root@host' says how to get there.
 * It needs 700 MB in /var/tmp or /tmp there and changes nothing else. Some minutes.
 */

const login = process.env['KNOX_FREEBSD_SSH']?.split(' ')
const skip = login === undefined ? 'KNOX_FREEBSD_SSH is not set: no real FreeBSD to try it on' : false

const ssh = (script: string): string => {
  const [program = '', ...words] = login ?? []
  const { status, stdout, stderr } = spawnSync(program, [...words, '/bin/sh -s'], {
    input: `set -e\n${script}`,
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  return stdout
}

const there = (wrap = (argv: readonly string[]) => argv): Place => ({
  name: 'freebsd',
  wrap: (argv) => [...(login ?? []), quoteAll(wrap(argv))],
  failures: [],
})

/** The layout of crochet; the accounts of an official image; kernel and modules of the machine itself. */
const MAKE = `
truncate -s 280m raw.img
unit=$(mdconfig -a -t vnode -f "$PWD/raw.img")
trap 'umount mnt 2>/dev/null || :; mdconfig -d -u $unit' EXIT
gpart create -s MBR $unit; gpart add -t '!12' -b 63 -s 17m $unit; gpart add -t freebsd -s 220m $unit
gpart create -s BSD \${unit}s2; gpart add -t freebsd-ufs \${unit}s2; gpart add -t freebsd $unit
newfs_msdos -L BOOT -F 16 /dev/\${unit}s1 >/dev/null 2>&1; newfs /dev/\${unit}s2a >/dev/null; tunefs -n enable -j enable /dev/\${unit}s2a
mkdir mnt; mount -t msdosfs /dev/\${unit}s1 mnt; echo gpu_mem=32 > mnt/config.txt; echo x > mnt/start.elf; umount mnt
mount /dev/\${unit}s2a mnt
(cd mnt; mkdir -p etc/ssh etc/rc.conf.d bin root boot/kernel var tmp
cp /etc/master.passwd /etc/passwd /etc/pwd.db /etc/spwd.db /etc/group etc/
cp /bin/freebsd-version bin/; for m in kernel zfs.ko opensolaris.ko geom_eli.ko crypto.ko; do cp /boot/kernel/$m boot/kernel/; done
touch firstboot; echo x > etc/ssh/ssh_host_rsa_key; echo 'nameserver 192.0.2.1' > etc/resolv.conf; echo x > etc/rc.conf.local)
pw -V "$PWD/mnt/etc" groupadd freebsd -g 1001; echo freebsd | pw -V "$PWD/mnt/etc" useradd freebsd -u 1001 -g freebsd -h 0 -s /bin/csh
echo root | pw -V "$PWD/mnt/etc" usermod root -h 0
chown 1001:1001 mnt/etc
`

/** All that can be told apart in the image's root file system, and what its databases say. */
const LOOK = `
unit=$(mdconfig -a -t vnode -o readonly -f "$PWD/$image")
trap 'umount mnt 2>/dev/null || :; mdconfig -d -u $unit' EXIT
sleep 1; mount -o ro /dev/\${unit}s2a mnt; cd mnt
find . ! -path './.su*' ! -path './.snap*' -exec stat -f '%Sp %u %g %m %N %Y' {} + | sort
find . -type f ! -name '.su*' ! -name '*.ko' ! -name kernel -exec sha256 -r {} + | sort
grep -v '^#' etc/master.passwd | cut -d: -f1,2
grep -c 'root.*[*]' etc/spwd.db; cd ..
`

describe('an image on a real FreeBSD', { skip }, () => {
  let folder = ''
  let config: Config
  const look = (image: string): string => ssh(`cd ${folder}\nimage=${image}\n${LOOK}`)
  const left = (): string =>
    ssh(`mdconfig -l -v | grep '${folder}' || :; mount -p | grep '${folder}' || :; ls ${folder}`)

  before(() => {
    const release = /\d+\.\d+/.exec(ssh('freebsd-version -u'))?.[0] ?? ''
    config = configSchema.parse({
      box: { addresses: ['192.168.1.13'], release: `releng/${release}` },
      home: { pool: 'wd' },
    })
    folder = ssh(
      'cd "$(mktemp -d "$([ -w /var/tmp ] && echo /var/tmp || echo /tmp)/knox-image.XXXXXX")" && pwd -P',
    ).trim()
    ssh(`cd ${folder}\n${MAKE}`)
    ssh(`cd ${folder} && cp raw.img one.img`)
  })
  after(() => {
    if (folder !== '') ssh(`rm -rf '${folder}'`)
  })

  const customise = async (t: TestContext, image: string, place: Place) => {
    const keys = join(await tempFolder(t), 'keys')
    mkdirSync(keys, { mode: 0o700 })
    writeFileSync(join(keys, 'knox-ca.pub'), keyFiles(2).line)
    writeFileSync(join(keys, 'ssh_host_ed25519_key.pub'), keyFiles(1).line)
    writeFileSync(join(keys, 'ssh_host_ed25519_key'), keyFiles(1).secret.reveal(), { mode: 0o600 })
    const signal = new AbortController().signal
    const path = `${folder}/${image}`
    return customiseImage({ image: path, folder: keys, config, place, signal, emit: () => undefined })
  }

  test('is customised, read back, and nothing is left attached', async (t) => {
    const done = await customise(t, 'one.img', there())
    assert.deepEqual(done.warnings, [])
    assert.equal(left(), 'mnt\none.img\nraw.img\n')
    const seen = look('one.img')
    assert.match(seen, /^-rwx------ 0 0 1455580800 \.\/root\/knox-zfs-receive\.sh $/m)
    assert.match(seen, /^-rw------- 0 0 1455580800 \.\/etc\/ssh\/ssh_host_ed25519_key $/m)
    assert.match(seen, /^l\S+ 0 0 1455580800 \.\/etc\/resolv\.conf \/var\/run\/resolv\.conf$/m)
    assert.match(seen, /^drwxr-xr-x 0 0 1455580800 \.\/etc $/m)
    assert.match(seen, /^root:\*$/m)
    assert.match(seen, /^freebsd:\*$/m)
    assert.ok(!/firstboot|rc\.conf\.|_rsa_key/.test(seen), seen)
  })

  test('comes out the same when it was killed before', async (t) => {
    ssh(`cd ${folder} && cp raw.img two.img`)
    const actions = workOf(await customiseActions(config, 'x'))
    const indexOf = (word: string) => actions.findIndex((argv) => argv.join(' ').includes(word))
    for (const killed of [
      indexOf('fsck_ufs -p'),
      indexOf('pwd_mkdb'),
      actions.findLastIndex(([name]) => name === 'find'),
    ]) {
      let count = -1
      const place = there((argv) => {
        if (argv.join().includes('umask 077; mkdir')) count = 0
        else if (count >= 0) count += 1
        if (count >= killed) throw new Error('killed')
        return argv
      })
      await assert.rejects(customise(t, 'two.img', place))
      assert.match(left(), /^md\d+\tvnode\t.*two\.img/)
    }
    await customise(t, 'two.img', there())
    assert.equal(left(), 'mnt\none.img\nraw.img\ntwo.img\n')
    assert.equal(look('two.img'), look('one.img'))
  })

  test('with a setting that did not take is refused', async (t) => {
    const place = there((argv) => {
      if (argv.includes('readonly'))
        ssh(
          `cd ${folder}; u=$(mdconfig -a -t vnode -f "$PWD/one.img"); sleep 1; mount /dev/\${u}s2a mnt; chmod 644 mnt/entropy; umount mnt; mdconfig -d -u $u`,
        )
      return argv
    })
    await assert.rejects(
      customise(t, 'one.img', place),
      knoxError('verification', /entropy has the mode 0644/),
    )
    assert.equal(left(), 'mnt\none.img\nraw.img\ntwo.img\n')
  })
})
