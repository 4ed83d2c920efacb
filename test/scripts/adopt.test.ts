import assert from 'node:assert/strict'
import { appendFile, lstat, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { exists } from '../../provision/system/files.ts'
import {
  adoptWords,
  assertAsBefore,
  noSandbox,
  OLD,
  startSandbox,
  type Sandbox,
} from '../support/adopt/sandbox.ts'
import { ended } from '../support/child.ts'

/** `knox adopt` as it is typed, against a real sshd on loopback. */

const skip = noSandbox() ?? false

/** One of the ways in works; sshd may be starting just now. */
const reachable = async (box: Sandbox): Promise<boolean> => {
  for (let i = 0; i < 4; i += 1) {
    if ((await box.oldWay()).code === 0 || (await box.newWay())) return true
    await sleep(250)
  }
  return false
}

const flag = (name: string) => (dir: string) => writeFile(join(dir, 'root', name), '')

describe('knox adopt', { skip, concurrency: 2 }, () => {
  test('makes the box of a machine: the certificate gets in, the plain key does not, the old files are kept', async (t) => {
    const box = await startSandbox(t)
    // the board that README's own steps leave there; the machine is a PC
    const yaml = join(box.dir, 'home/knox.yaml')
    await writeFile(yaml, (await readFile(yaml, 'utf8')).replace('board: laptop', '# board: rpi-b'))
    assert.equal((await box.oldWay()).code, 0)
    const { code, stdout, stderr } = await box.knox(...adoptWords(box, '--yes', '--reboot'))
    assert.equal(code, 0, stderr + stdout)
    assert.doesNotMatch((await box.file('/etc/rc.conf')) ?? '', /root_rw_mount|-M 800/)
    assert.match(await readFile(yaml, 'utf8'), /^ {2}board: laptop$/m)
    assert.equal(await box.newWay(), true)
    assert.equal((await box.oldWay()).code, 255)
    const [kept = ''] = await readdir(join(box.dir, 'root/knox-before'))
    const old = join(box.dir, 'root/knox-before', kept)
    assert.equal((await lstat(old)).mode & 0o777, 0o700)
    const list = (await readFile(join(old, 'list'), 'utf8')).split('\n')
    const number = list.find((line) => line.endsWith(' /etc/rc.conf'))?.split(' ')[0] ?? ''
    assert.equal(await readFile(join(old, 'old', number), 'utf8'), OLD['etc/rc.conf'])
  })
  test('with a blank in the name of the key folder', async (t) => {
    const box = await startSandbox(t, async (dir) => {
      const yaml = join(dir, 'home/knox.yaml')
      await writeFile(yaml, (await readFile(yaml, 'utf8')).replace(/folder: (.*)/, 'folder: $1 of mine'))
    })
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 0, stderr)
    assert.match(stderr, /a login without a certificate is refused/)
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
})

describe('knox adopt takes all back if', { skip, concurrency: 3 }, () => {
  test('sshd does not start with the new files', async (t) => {
    const box = await startSandbox(t, flag('.fail-service'))
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 14, stderr)
    await assertAsBefore(box)
  })
  test('a file cannot be put in place', async (t) => {
    const box = await startSandbox(t, flag('.fail-mv'))
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 14, stderr)
    await assertAsBefore(box)
  })
  test('its sshd is gone, although the former box answers with the same keys at the address of knox.yaml', async (t) => {
    const box = await startSandbox(t, flag('.deaf-service'))
    const former = await startSandbox(t)
    const yaml = join(box.dir, 'home/knox.yaml')
    await writeFile(
      yaml,
      (await readFile(yaml, 'utf8')).replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${former.port}`),
    )
    const first = await box.knox(
      ...adoptWords(former, '--yes').map((word) =>
        word === '../ssh_config' ? `${former.dir}/ssh_config` : word,
      ),
    )
    assert.equal(first.code, 0, first.stderr)
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 14, stderr)
    assert.match(stderr, /the new way in does not work, and all is as it was/)
    await assertAsBefore(box)
  })
  test('the certificate does not get in', async (t) => {
    // a locked root, and a pw that says it has mended it
    const box = await startSandbox(t, async (dir) => {
      await flag('.fail-pw')(dir)
      await writeFile(join(dir, 'root/.password'), '*LOCKED*x\n')
      const shadow = await readFile(join(dir, 'etc/shadow'), 'utf8')
      await writeFile(join(dir, 'etc/shadow'), shadow.replace(/^root:[^:]*:/m, 'root:!*:'))
      const config = join(dir, 'etc/ssh/sshd_config')
      await writeFile(config, (await readFile(config, 'utf8')).replace('UsePAM no', 'UsePAM yes'))
    })
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes'))
    assert.equal(code, 14, stderr)
    await assertAsBefore(box)
  })
  test('the machine has restarted and cannot be reached', async (t) => {
    const box = await startSandbox(t, flag('.fail-start'))
    const { code, stderr } = await box.knox(...adoptWords(box, '--yes', '--reboot', '--undo-after', '45'))
    assert.equal(code, 14, stderr)
    assert.match(stderr, /gone back to its old files/)
    assert.equal(await box.file('/root/.starts'), 'reboot\nreboot\n')
    await assertAsBefore(box)
  })
})

test('knox adopt changes nothing if it must not', { skip }, async (t) => {
  const box = await startSandbox(t)
  const refuses = async (words: readonly string[], exit: number, pattern: RegExp) => {
    const { code, stderr } = await box.knox(...words)
    assert.equal(code, exit, stderr)
    assert.match(stderr, pattern)
  }
  const inside = (path: string) => join(box.dir, path)
  const yes = adoptWords(box, '--yes')
  await t.test('nobody is there to confirm: 4', () => refuses(adoptWords(box), 4, /nobody is at a terminal/))
  await t.test('a wrong passphrase: 12', async () => {
    await writeFile(inside('home/wrong'), 'not this\n', { mode: 0o600 })
    await refuses([...yes, '--passphrase-file', 'wrong'], 12, /passphrase/)
  })
  await t.test('words that are none: 2', async () => {
    await refuses(['adopt'], 2, /one ADDRESS/)
    await refuses([...yes, '--undo-after', '1e3'], 2, /not 5 to 3600 seconds/)
    await refuses([...yes, '--user', '-oProxyCommand=x'], 2, /.*/)
  })
  await t.test('it is behind a jump host, and knox.yaml has no address for the proof: 3', async () => {
    const yaml = await readFile(inside('home/knox.yaml'), 'utf8')
    await writeFile(inside('home/knox.yaml'), yaml.replace(/addresses: .*/, 'addresses: []'))
    await writeFile(inside('jump'), `ProxyJump nowhere\n${await readFile(inside('ssh_config'), 'utf8')}`)
    await refuses([...yes, '--ssh-config', '../jump'], 3, /names no address/)
    await writeFile(inside('home/knox.yaml'), yaml)
  })
  assert.equal(await exists(inside('root/knox-before')), false)
  await t.test('it is no FreeBSD: 15', async () => {
    await writeFile(inside('root/.system'), 'Linux\n')
    await refuses(yes, 15, /runs Linux, not FreeBSD/)
    await writeFile(inside('root/.system'), 'FreeBSD\n')
  })
  await t.test('rc.conf is a program that cannot be added to: 4', async () => {
    await appendFile(inside('etc/rc.conf'), 'motd="two\nlines"\nexit 0\n')
    await refuses(yes, 4, /rc\.conf/)
    await writeFile(inside('etc/rc.conf'), OLD['etc/rc.conf'])
  })
  await t.test('fstab names a device that is not there: 1', async () => {
    await appendFile(inside('etc/fstab'), '/dev/gone\t/usr\tufs\trw\t2\t2\n')
    await refuses(yes, 1, /fstab names \/dev\/gone, which is not there/)
    await writeFile(inside('etc/fstab'), OLD['etc/fstab'])
  })
  await t.test('sshd -t does not take the new sshd_config: 1', async () => {
    const config = inside('etc/ssh/sshd_config')
    const before = await readFile(config, 'utf8')
    await appendFile(config, 'AddressFamily bogus\n')
    await refuses(yes, 1, /does not take the new sshd_config/)
    await writeFile(config, before)
  })
  await assertAsBefore(box)
  await t.test(
    'the owner’s ssh does not get in: 10, and it says what lets root in (facts 11.21)',
    async () => {
      await rm(inside('id'))
      await refuses(yes, 10, /--user NAME logs in as another.*PermitRootLogin yes/s)
    },
  )
})

const UNDECIDED = /an earlier run on this machine is not decided yet/

/** Kills knox -9 in a step, a little later at every run, so that each moment of it has its turn. */
const killIn = async (box: Sandbox, title: string, tries = 30): Promise<string> => {
  const child = box.start(...adoptWords(box, '--yes', '--undo-after', '5'))
  child.stderr?.on('data', (chunk: Buffer) => {
    if (chunk.toString().includes(title)) setTimeout(() => child.kill('SIGKILL'), Math.random() * 300)
  })
  const { stderr } = await ended(child)
  await rm(join(box.dir, 'home/keys/lock'), { force: true })
  // the run before was killed so late that its switch was set after all
  if (UNDECIDED.test(stderr) && tries > 0) {
    await sleep(1000)
    return killIn(box, title, tries - 1)
  }
  assert.match(stderr, new RegExp(title))
  return stderr
}

/** The folder of the last run on the machine. */
const keptIn = async (box: Sandbox): Promise<string> => {
  const before = join(box.dir, 'root/knox-before')
  return join(before, (await readdir(before).catch(() => [])).sort().at(-1) ?? '')
}

const HARMLESS = ['bringing the new files', 'keeping the old files', 'checking what sshd']
const ARMED = [
  'from now on',
  'putting the new files',
  'restarting sshd',
  'logging in by certificate',
  'confirming',
]

describe('knox adopt killed while', { skip, concurrency: 3 }, () => {
  test(`${HARMLESS.join(', or ')}: nothing is changed, and a next run goes through`, async (t) => {
    const box = await startSandbox(t)
    for (const title of HARMLESS) {
      await killIn(box, title)
      // the kill may have come a moment too late for this step, and what was on its way still arrives
      await sleep(1500)
      for (let i = 0; i < 100 && (await exists(join(await keptIn(box), 'armed'))); i += 1) {
        if (await exists(join(await keptIn(box), 'undone'))) break
        await sleep(200)
      }
      await assertAsBefore(box)
    }
    let last = await box.knox(...adoptWords(box, '--yes'))
    for (let i = 0; i < 30 && UNDECIDED.test(last.stderr); i += 1) {
      await sleep(1000)
      last = await box.knox(...adoptWords(box, '--yes'))
    }
    assert.equal(last.code, 0, last.stderr)
    assert.equal(await box.newWay(), true)
  })
  test('restarting the machine: it restarts, or its next start is no other than before', async (t) => {
    const box = await startSandbox(t)
    const child = box.start(...adoptWords(box, '--yes', '--reboot'))
    const end = ended(child)
    let shown = ''
    child.stderr?.on('data', (chunk: Buffer) => (shown += chunk.toString()))
    const isArmed = async () =>
      shown.includes('restarting the machine') && (await box.file('/etc/rc.local')) !== undefined
    for (let i = 0; i < 20_000 && child.exitCode === null && !(await isArmed()); i += 1) await sleep(5)
    child.kill('SIGKILL')
    await end
    const kept = await keptIn(box)
    const isSettled = async () =>
      (await exists(join(box.dir, 'root/.starts'))) ||
      ((await exists(join(kept, 'confirmed'))) && (await box.file('/etc/rc.local')) === undefined)
    for (let i = 0; i < 100 && !(await isSettled()); i += 1) await sleep(100)
    assert.ok(await isSettled(), shown)
  })
  for (const title of ARMED)
    test(`${title}: one way in is open all the time, and in the end it is the old or the new`, async (t) => {
      const box = await startSandbox(t)
      const stderr = await killIn(box, title)
      const kept = await keptIn(box)
      const isDecided = async () =>
        (await exists(join(kept, 'undone'))) || (await exists(join(kept, 'confirmed')))
      const isArmed = async () => exists(join(kept, 'armed'))
      assert.ok(await reachable(box), stderr)
      for (let i = 0; i < 60 && (await isArmed()) && !(await isDecided()); i += 1) {
        assert.ok(await reachable(box), stderr)
        await sleep(500)
      }
      if (await exists(join(kept, 'confirmed'))) assert.equal(await box.newWay(), true)
      else {
        assert.equal(await exists(join(kept, 'undone')), await isArmed())
        await assertAsBefore(box)
      }
    })
})
