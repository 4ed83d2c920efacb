import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ended } from '../support/child.ts'
import { isAlive, writeProgram } from '../support/expect.ts'
import { isUntouched, isWritten, KNOX, MIB, old, place, type Place } from '../support/flash-place.ts'

/** `knox flash` as it is typed: real processes, files in place of drives, lsblk played where a drive is needed. */

/** what is where the partition table belongs */
const UNFINISHED = /^(?:this drive is not finished: flash it again\n)+[^\n]*$/

const sumOf = (data: Buffer) => createHash('sha256').update(data).digest('hex')
const noXz = spawnSync('xz', ['--version']).error === undefined ? false : 'no xz(1) here'
const noScript = spawnSync('script', ['--version']).error === undefined ? false : 'no script(1) here'
const noLinux = process.platform === 'linux' ? false : 'lsblk is Linux’s'

describe('knox flash to a file', { concurrency: true }, () => {
  test('writes the image, reads it back and says so; the rest stays but for the end', async (t) => {
    const one = await place(t)
    const { code, stdout, stderr } = await one.flash(one.image, one.file, '--to-file', '--yes')
    assert.equal(code, 0, stderr)
    assert.match(
      stdout,
      /holds .*knox\.img\n9\.\d+ MiB written in .*,\nread back in .*: every byte is right\n$/,
    )
    assert.match(
      stderr,
      /there is no .*knox\.img\.sha256.*\nwriting .*\n.*is written\nreading .* back \.\.\.\n/,
    )
    const card = await readFile(one.file)
    assert.ok(card.subarray(0, one.data.length).equals(one.data))
    assert.ok(card.subarray(one.data.length, 11 * MIB).equals(old.subarray(one.data.length, 11 * MIB)))
    assert.ok(card.subarray(11 * MIB).equals(Buffer.alloc(MIB)))
  })

  test('takes a packed image; --json tells what was done', { skip: noXz }, async (t) => {
    const one = await place(t)
    spawnSync('xz', ['-0', '-k', one.image])
    const { code, stdout, stderr } = await one.flash(
      `${one.image}.xz`,
      one.file,
      '--to-file',
      '--yes',
      '--json',
    )
    assert.equal(code, 0, stderr)
    const result = JSON.parse(stdout) as Record<string, unknown>
    assert.deepEqual(
      [result['bytes'], result['drive'], result['skippedZeros']],
      [one.data.length, one.file, false],
    )
    assert.ok(await isWritten(one))
  })

  test('checks the checksum first: right, wrong, useless', async (t) => {
    const one = await place(t)
    const words = [one.image, one.file, '--to-file', '--yes'] as const
    await writeFile(`${one.image}.sha256`, `${sumOf(randomBytes(8))}  knox.img\n`)
    const wrong = await one.flash(...words)
    assert.equal(wrong.code, 14)
    assert.match(wrong.stderr, /is not what its checksum file says\n.*SHA-256 [0-9a-f]{64}, expected/)
    await writeFile(`${one.image}.sha256`, '<html>404</html>')
    assert.equal((await one.flash(...words)).code, 3)
    assert.ok(await isUntouched(one))
    await writeFile(`${one.image}.sha256`, `SHA256 (knox.img) = ${sumOf(one.data)}\n`)
    const right = await one.flash(...words)
    assert.equal(right.code, 0, right.stderr)
    assert.match(right.stderr, /has the right checksum/)
  })

  test('refuses what it must not touch, each with its own exit code, and changes nothing', async (t) => {
    const one = await place(t)
    const { dir, image, file } = one
    const made = async (name: string, content: string) => {
      await writeFile(join(dir, name), content)
      return join(dir, name)
    }
    await writeFile(join(dir, 'small'), Buffer.alloc(9 * MIB))
    await symlink(file, join(dir, 'link'))
    const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
      [[image, file, '--yes'], 4, /is a file, not a drive\n[^]*--to-file/],
      [[image, join(dir, 'link'), '--yes'], 4, /is a file, not a drive/],
      [[image, dir, '--yes'], 4, /is not a drive/],
      [[image, '/dev/null', '--to-file', '--yes'], 4, /is no file/],
      [[image, '/dev/null', '--yes'], 4, /is not a drive/],
      [[image, '/dev/nonesuch', '--yes'], 21, /there is no \/dev\/nonesuch/],
      [[image, 'nonesuch', '--yes'], 21, /there is no \/dev\/nonesuch/],
      [[image, 'small', '--yes'], 21, /there is no \/dev\/small\n[^]*small is a file: --to-file/],
      [
        [image, join(dir, 'small'), '--to-file', '--yes'],
        18,
        /too small: it has 9437184 bytes, the image 9442184/,
      ],
      [[image, file, '--to-file'], 4, /nobody is at a terminal to answer: everything on .*card will be lost/],
      [[join(dir, 'none.img'), file, '--to-file', '--yes'], 3, /there is no image/],
      [[await made('page.img', 'x'.repeat(9999)), file, '--to-file', '--yes'], 3, /no disk image/],
      [[image, file, 'more', '--to-file', '--yes'], 2, /takes an image and a drive/],
    ]
    for (const [words, code, pattern] of cases) {
      const ran = await one.flash(...words)
      assert.equal(ran.code, code, `${words.join(' ')}\n${ran.stderr}`)
      assert.match(ran.stderr, pattern)
    }
    assert.ok(await isUntouched(one))
  })

  test('keeps a drive that GELI encrypted, for a sector of any size, unless --erase is said', async (t) => {
    for (const sector of [512, 4096]) {
      const one = await place(t)
      const disk = Buffer.from(old)
      disk.write('GEOM::ELI\0', disk.length - sector)
      await writeFile(one.file, disk)
      const kept = await one.flash(one.image, one.file, '--to-file', '--yes')
      assert.equal(kept.code, 4, kept.stderr)
      assert.match(kept.stderr, /card is encrypted by GELI: it may hold a backup\n[^]*--erase says/)
      assert.ok((await readFile(one.file)).equals(disk))
      const erased = await one.flash(one.image, one.file, '--to-file', '--yes', '--erase')
      assert.equal(erased.code, 0, erased.stderr)
      assert.ok(await isWritten(one))
    }
  })

  test('in a dry run checks all and writes nothing', async (t) => {
    const one = await place(t)
    const { code, stdout } = await one.flash(one.image, one.file, '--to-file', '--dry-run')
    assert.equal(code, 0)
    assert.match(stdout, /^would write .*knox\.img \(9\.\d+ MiB\) to .*card, and read it back\n$/)
    assert.ok(await isUntouched(one))
  })

  test(
    'a cut-off packed image is an error before, a damaged one while it writes',
    { skip: noXz },
    async (t) => {
      const one = await place(t)
      spawnSync('xz', ['-0', '-k', '--block-size=1MiB', one.image])
      const packed = await readFile(`${one.image}.xz`)
      const cut = join(one.dir, 'cut.img.xz')
      await writeFile(cut, packed)
      await truncate(cut, packed.length - 1000)
      const before = await one.flash(cut, one.file, '--to-file', '--yes')
      assert.deepEqual([before.code, await isUntouched(one)], [3, true], before.stderr)
      packed.fill(0, packed.length - 200_000, packed.length - 190_000)
      await writeFile(cut, packed)
      const within = await one.flash(cut, one.file, '--to-file', '--yes')
      assert.equal(within.code, 14)
      assert.match(within.stderr, /the image is damaged: xz gave up[^]*card is not complete: flash it again/)
      assert.match((await readFile(one.file)).subarray(0, MIB).toString('latin1'), UNFINISHED)
    },
  )
})

describe('knox flash, stopped', { concurrency: true, skip: noXz }, () => {
  /** an xz that never ends after its first bytes */
  const stuck = async (t: TestContext) => {
    const one = await place(t)
    spawnSync('xz', ['-0', '-k', one.image])
    const real = spawnSync('sh', ['-c', 'command -v xz']).stdout.toString().trim()
    await writeProgram(
      join(one.dir, 'bin'),
      'xz',
      `case $1 in --robot) exec ${real} "$@" ;; esac\necho $$ >>${one.dir}/pids\n${real} "$@" | head -c 5000000\nexec sleep 60`,
    )
    return one
  }

  const until = async (done: () => Promise<boolean>) => {
    for (let waited = 0; waited < 300 && !(await done()); waited += 1) await sleep(50)
    assert.ok(await done())
  }

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    test(`by ${signal}: exit 130, says that the card is not complete, leaves no partition table`, async (t) => {
      const one = await stuck(t)
      const child = one.start(`${one.image}.xz`, one.file, '--to-file', '--yes')
      const ran = ended(child)
      await until(async () => !(await readFile(one.file)).subarray(0, 100).equals(old.subarray(0, 100)))
      child.kill(signal)
      const { code, stdout, stderr } = await ran
      assert.deepEqual([code, stdout], [130, ''], stderr)
      assert.match(
        stderr,
        /knox: error: stopped\nknox: hint: .*card is not complete, or not proved to be: flash it again/,
      )
      assert.match((await readFile(one.file)).subarray(0, MIB).toString('latin1'), UNFINISHED)
      const pids = (await readFile(join(one.dir, 'pids'), 'utf8')).trim().split('\n')
      for (const pid of pids) assert.ok(!isAlive(Number(pid)))
    })

  test('and flashed again it is complete', async (t) => {
    const one = await stuck(t)
    const child = one.start(`${one.image}.xz`, one.file, '--to-file', '--yes')
    const ran = ended(child)
    await until(async () => !(await readFile(one.file)).subarray(0, 100).equals(old.subarray(0, 100)))
    child.kill('SIGKILL')
    await ran
    assert.equal((await one.flash(one.image, one.file, '--to-file', '--yes')).code, 0)
    assert.ok(await isWritten(one))
  })
})

describe('knox flash at a terminal', { concurrency: true, skip: noScript }, () => {
  const typed = async (one: Place, answer: string) => {
    await writeFile(
      join(one.dir, 'run'),
      `stty cols 200 rows 40\nexec '${process.execPath}' '${KNOX}' flash ${one.image} ${one.file} --to-file\n`,
    )
    const child = spawn('script', ['-qec', `sh '${one.dir}/run'`, '/dev/null'], {
      cwd: one.dir,
      env: { ...process.env, HOME: one.dir, TERM: 'xterm' },
      timeout: 60_000,
    })
    let said = ''
    child.stdout.on('data', (text: Buffer) => {
      if (!said.includes('will be lost') && (said += text.toString()).includes('will be lost'))
        setTimeout(() => child.stdin.write(answer), 300)
    })
    return ended(child)
  }

  test('goes on when the drive’s name is typed', async (t) => {
    const one = await place(t)
    const { code, stdout } = await typed(one, `${one.file}\r`)
    assert.equal(code, 0, stdout)
    assert.match(stdout, /everything on \S+card will be lost; type \S+card to go on:/)
    assert.ok(await isWritten(one))
  })

  test('does nothing for any other word, or Ctrl-C', async (t) => {
    const one = await place(t)
    for (const [answer, code, pattern] of [
      ['yes\r', 4, /not confirmed, nothing was changed/],
      ['\r', 4, /not confirmed/],
      ['\u0003', 130, /interrupted/],
    ] as const) {
      const ran = await typed(one, answer)
      assert.equal(ran.code, code, ran.stdout)
      assert.match(ran.stdout, pattern)
    }
    assert.ok(await isUntouched(one))
  })
})

describe('knox flash on Linux', { concurrency: true, skip: noLinux }, () => {
  /** lsblk plays a machine with this one drive */
  const played = async (t: TestContext, drive: Readonly<Record<string, unknown>>) => {
    const one = await place(t)
    const row = {
      size: 4e9,
      'log-sec': 512,
      type: 'disk',
      model: 'Card',
      ro: false,
      mountpoints: [null],
      ...drive,
    }
    await writeProgram(
      join(one.dir, 'bin'),
      'lsblk',
      `cat <<'E'\n${JSON.stringify({ blockdevices: [row] })}\nE`,
    )
    return one
  }

  test('lists the drives without words; with an image alone also says what is missing', async (t) => {
    const one = await played(t, { name: '/dev/sdx', kname: '/dev/sdx', tran: 'usb' })
    const list = await one.flash()
    assert.deepEqual(
      [list.code, list.stdout],
      [0, '/dev/sdx Card (usb, 3.7 GiB): nothing mounted\n'],
      list.stderr,
    )
    const json = JSON.parse((await one.flash('--json')).stdout) as { drives: readonly { path: string }[] }
    assert.deepEqual(
      json.drives.map(({ path }) => path),
      ['/dev/sdx'],
    )
    const half = await one.flash(one.image)
    assert.equal(half.code, 2)
    assert.match(half.stdout, /\/dev\/sdx/)
    assert.match(half.stderr, /flash needs the drive too\nknox: hint: knox flash .*knox\.img DEVICE/)
  })

  test('without lsblk ends with 15, with an lsblk it does not understand with 1', async (t) => {
    const one = await place(t)
    await writeProgram(join(one.dir, 'bin'), 'lsblk', 'echo "lsblk: not found" >&2; exit 127')
    assert.equal((await one.flash()).code, 15)
    await writeProgram(join(one.dir, 'bin'), 'lsblk', 'echo NAME TYPE')
    assert.equal((await one.flash()).code, 1)
  })
})
