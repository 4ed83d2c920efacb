import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Change, Read } from '../../../provision/core/command.ts'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import { quoteAll } from '../../../provision/core/quote.ts'
import {
  boxScriptDisk,
  boxScriptSum,
  replaceBoxScript,
  sha256Of,
} from '../../../provision/tools/box-script.ts'
import { missing, SHELLS } from '../../box/box.ts'
import { tempFolder, writeProgram } from '../../support/expect.ts'

/** The commands run for real, with a folder of the test in the place of /root and /var/run. */

const OLD = '#!/bin/sh\necho old\n'
const NEW = `#!/bin/sh\n# it's $HOME \`new\` and "quoted" \\ ü\necho new\n${'# filler\n'.repeat(4000)}`
const [UPLOAD, INSTALL] = replaceBoxScript(NEW) as [Change, Change]
const UPLOAD_PATH = UPLOAD.argv.at(-1) ?? ''

const here = (argv: readonly string[], folder: string): readonly string[] =>
  argv.map((word) =>
    word.replace(BOX_SCRIPT, join(folder, 'script')).replace(UPLOAD_PATH, join(folder, 'upload')),
  )

const stdinOf = ({ stdin }: Change | Read<unknown>): string => (typeof stdin === 'string' ? stdin : '')

const oldFolder = async (t: TestContext): Promise<string> => {
  const folder = await tempFolder(t)
  writeFileSync(join(folder, 'script'), OLD, { mode: 0o700 })
  return folder
}

/** Runs a command with `shell` in the place of /bin/sh; its exit code and stderr. */
const runHere = (
  command: Change | Read<unknown>,
  folder: string,
  shell: readonly string[] = ['sh'],
  stdin: string = stdinOf(command),
) => {
  const [, ...words] = here(command.argv, folder)
  const [program = '', ...options] = shell
  return spawnSync(program, [...options, ...words], { input: stdin, encoding: 'utf8', timeout: 20_000 })
}

const ruleOf = (stderr: string) => INSTALL.failures?.find(({ pattern }) => pattern.test(stderr))?.code

const scriptIn = (folder: string): string => readFileSync(join(folder, 'script'), 'utf8')

for (const [name, shell] of SHELLS)
  describe(`the box’s script, replaced under ${name}`, { skip: missing(shell) }, () => {
    test('is whole, root’s alone, and nothing is left beside it', async (t) => {
      const folder = await oldFolder(t)
      for (const command of [UPLOAD, INSTALL]) assert.equal(runHere(command, folder, shell).stderr, '')
      assert.equal(scriptIn(folder), NEW)
      assert.equal(statSync(join(folder, 'script')).mode & 0o777, 0o700)
      assert.deepEqual(readdirSync(folder), ['script'])
      const read = runHere(boxScriptSum, folder, shell)
      assert.equal(boxScriptSum.parse(read.stdout), sha256Of(NEW))
    })

    test('stays the old one if the new one did not arrive whole, or is no shell script', async (t) => {
      const folder = await oldFolder(t)
      for (const [stdin, code] of [
        [NEW.slice(0, -1), 'verification'],
        ['', 'verification'],
        [`${NEW}if then`, 'verification'],
      ] as const) {
        runHere(UPLOAD, folder, shell, stdin)
        const { status, stderr } = runHere(INSTALL, folder, shell)
        assert.equal(status, 1)
        assert.equal(ruleOf(stderr), code)
        assert.equal(scriptIn(folder), OLD)
      }
      const [upload, install] = replaceBoxScript('if then\n') as [Change, Change]
      runHere(upload, folder, shell)
      const { status, stderr } = runHere(install, folder, shell)
      assert.equal(status, 1)
      assert.equal(ruleOf(stderr), 'failed')
      assert.equal(scriptIn(folder), OLD)
    })

    test('is the old or the new one wherever the connection ends', async (t) => {
      const folder = await oldFolder(t)
      const lines = stdinOf(INSTALL).split('\n')
      for (let count = 0; count < lines.length - 3; count += 1) {
        runHere(UPLOAD, folder, shell)
        runHere(INSTALL, folder, shell, lines.slice(0, count).join('\n'))
        assert.equal(scriptIn(folder), OLD, `${count} lines`)
      }
    })
  })

test('the disk that the box’s script names', async (t) => {
  const folder = await oldFolder(t)
  const diskIn = (text: string) => {
    writeFileSync(join(folder, 'script'), text)
    return boxScriptDisk.parse(runHere(boxScriptDisk, folder).stdout)
  }
  assert.equal(diskIn(OLD), undefined)
  assert.equal(diskIn("#!/bin/sh\nname='knox'\ndisk='diskid/DISK-WX1'\npool='wd'\n"), 'diskid/DISK-WX1')
  assert.equal(diskIn("disk='da0\n'"), undefined)
  rmSync(join(folder, 'script'))
  assert.equal(boxScriptDisk.parse(runHere(boxScriptDisk, folder).stdout), undefined)
})

test('the words mean the same to csh', { skip: missing(['tcsh']) }, async (t) => {
  const folder = await oldFolder(t)
  for (const command of [UPLOAD, INSTALL, boxScriptDisk]) {
    assert.doesNotMatch(command.argv.join(' '), /[!\n]/)
    const line = quoteAll(here(command.argv, folder))
    const { status, stderr } = spawnSync('tcsh', ['-f', '-c', line], {
      input: stdinOf(command),
      encoding: 'utf8',
    })
    assert.equal(status, 0, stderr)
  }
  assert.equal(scriptIn(folder), NEW)
})

const noMounts = (): string | false =>
  process.getuid?.() !== 0
    ? 'needs root'
    : spawnSync('unshare', ['-m', 'true']).status === 0
      ? false
      : 'needs mount namespaces'

describe('on a read-only root', { skip: noMounts() }, () => {
  /** Runs the installer where the folder is a file system of so many KiB, read-only; what is there afterwards. */
  const onReadOnly = async (
    t: TestContext,
    kib: number,
    remount = 'exec $REAL -o "remount,$how" "$FOLDER"',
  ) => {
    const folder = await oldFolder(t)
    const bin = await tempFolder(t)
    await writeProgram(
      bin,
      'mount',
      `echo "$*" >>"$CALLS"; case $* in '-uw /') how=rw ;; '-ur /') how=ro ;; *) exit 64 ;; esac; ${remount}`,
    )
    writeFileSync(join(bin, 'upload'), NEW)
    const script = [
      `$REAL -t tmpfs -o size=${kib}k,mode=700 tmpfs "$FOLDER" && cp -p "$BIN/old" "$FOLDER/script"`,
      '$REAL -o remount,ro "$FOLDER"',
      'PATH=$BIN:$PATH /bin/sh -s "$BIN/upload" "$FOLDER/script" "$SUM"',
      'echo "status $?"; cksum <"$FOLDER/script"; ls "$FOLDER"',
      'grep " $FOLDER " /proc/self/mounts | cut -d " " -f 4 | cut -d , -f 1',
    ].join('\n')
    writeFileSync(join(bin, 'old'), OLD, { mode: 0o700 })
    const { stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', script], {
      input: stdinOf(INSTALL),
      encoding: 'utf8',
      timeout: 30_000,
      env: {
        ...process.env,
        FOLDER: folder,
        BIN: bin,
        CALLS: join(bin, 'calls'),
        REAL: spawnSync('sh', ['-c', 'command -v mount'], { encoding: 'utf8' }).stdout.trim(),
        SUM: INSTALL.argv.at(-1),
      },
    })
    const cksum = (text: string) => spawnSync('cksum', { input: text, encoding: 'utf8' }).stdout
    return {
      stdout: stdout.replace(cksum(OLD), 'old\n').replace(cksum(NEW), 'new\n'),
      stderr,
      calls: readFileSync(join(bin, 'calls'), 'utf8'),
    }
  }

  test('it is writable only meanwhile (facts 11.30)', async (t) => {
    const { stdout, calls, stderr } = await onReadOnly(t, 256)
    assert.equal(stdout, 'status 0\nnew\nscript\nro\n', stderr)
    assert.equal(calls, '-uw /\n-ur /\n')
  })

  test('that has no room keeps the old script, and is read-only again', async (t) => {
    const { stdout, stderr } = await onReadOnly(t, 16)
    assert.equal(stdout, 'status 1\nold\nscript\nro\n', stderr)
    assert.equal(ruleOf(stderr), 'failed')
  })

  test('that cannot be made writable keeps the old script', async (t) => {
    const { stdout, stderr } = await onReadOnly(t, 256, 'exit 1')
    assert.equal(stdout, 'status 1\nold\nscript\nro\n', stderr)
    assert.match(stderr, /^knox: the root cannot be mounted for writing$/m)
  })

  test('that is busy is tried again', async (t) => {
    const busy =
      'if [ $how = ro ] && [ $(wc -l <"$CALLS") -lt 4 ]; then exit 1; fi; exec $REAL -o "remount,$how" "$FOLDER"'
    const { stdout, calls } = await onReadOnly(t, 256, busy)
    assert.equal(stdout, 'status 0\nnew\nscript\nro\n')
    assert.equal(calls, '-uw /\n-ur /\n-ur /\n-ur /\n')
  })
})
