import assert from 'node:assert/strict'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Secret } from '../../../provision/core/secret.ts'
import { LONGEST_COMMAND, run } from '../../../provision/system/process.ts'
import { isAlive, tempFolder, withEnv, writeProgram } from '../../support/expect.ts'

const which = async (name: string) => (await run(['sh', '-c', `command -v ${name}`])).stdout.trim()

describe('a command that is run', () => {
  test('may be as long as it is said', async () => {
    const word = 'x'.repeat(LONGEST_COMMAND - 'true '.length)
    assert.equal((await run(['true', word])).exitCode, 0)
    if (process.platform === 'linux') assert.notEqual((await run(['true', `${word}x`])).exitCode, 0)
  })

  test('exit code, signal, stdout and stderr come back as they were', async () => {
    const cases: readonly (readonly [string, number | null, NodeJS.Signals | null])[] = [
      ['exit 0', 0, null],
      ['exit 3', 3, null],
      ['exit 255', 255, null],
      ['kill -KILL $$', null, 'SIGKILL'],
      ['kill -PIPE $$', null, 'SIGPIPE'],
    ]
    for (const [script, exitCode, signal] of cases) {
      const argv = ['sh', '-c', `printf out; printf err >&2; ${script}`]
      assert.deepEqual(await run(argv), { argv, exitCode, signal, stdout: 'out', stderr: 'err' }, script)
    }
  })

  test('a program that is not there is exit 127, and no crash', async () => {
    for (const argv of [['knox-nonesuch'], ['/nonesuch/knox'], ['./knox nonesuch']])
      assert.equal((await run(argv)).exitCode, 127)
  })

  test('an argument reaches the program as it is: nothing in it is seen by a shell', async (t) => {
    const dir = await tempFolder(t)
    const argv0 = await writeProgram(dir, 'show', String.raw`for word; do printf '%s\0' "$word"; done`)
    const touched = join(dir, 'touched')
    const words = [
      '',
      ' ',
      "it's",
      '"',
      '\n',
      'a\nb',
      '\\',
      '$HOME',
      '-n',
      '*',
      '~',
      '!',
      'é',
      '\u001b',
      '#',
      '=1',
      'A=b',
    ]
    const hostile = [
      `$(touch ${touched})`,
      `\`touch ${touched}\``,
      `; touch ${touched}`,
      `' ; touch ${touched} ; '`,
      `\n touch ${touched}\n`,
      `| touch ${touched}`,
      `& touch ${touched} &`,
    ]
    const { stdout, exitCode } = await run([argv0, ...words, ...hostile])
    assert.equal(exitCode, 0)
    assert.deepEqual(stdout.split('\0').slice(0, -1), [...words, ...hostile])
    await assert.rejects(readFile(touched), { code: 'ENOENT' })
    const word = fc
      .string({ unit: 'binary' })
      .map((text) => text.replaceAll('\0', '').replace(/\p{Cs}/gu, ''))
    const some = fc.array(word, { maxLength: 10 })
    const arrives = async (list: readonly string[]) =>
      assert.deepEqual((await run([argv0, ...list])).stdout.split('\0').slice(0, -1), list)
    await fc.assert(fc.asyncProperty(some, arrives), { numRuns: 30 })
  })

  test('a secret on stdin arrives to the byte, and nothing follows', async (t) => {
    const path = join(await tempFolder(t), 'got')
    const bytes = Buffer.from(Array.from({ length: 1024 }, (_, n) => (n * 7 + (n >> 8)) % 256))
    const { exitCode } = await run(['sh', '-c', 'cat > "$1"', 'sh', path], {
      stdin: new Secret('key', bytes),
    })
    assert.equal(exitCode, 0)
    assert.deepEqual(await readFile(path), bytes)
  })

  test('without stdin given it reads the end at once, and never the terminal', async () => {
    assert.equal((await run(['wc', '-c'])).stdout.trim(), '0')
  })

  test('a program that does not read its stdin is no crash: its exit code comes back', async () => {
    const stdin = new Secret('key', Buffer.alloc(1_000_000))
    for (const script of ['exit 7', 'exec <&-; exit 7', 'head -c 1 >/dev/null; exit 7'])
      assert.equal((await run(['sh', '-c', script], { stdin })).exitCode, 7)
    assert.equal((await run(['knox-nonesuch'], { stdin })).exitCode, 127)
  })

  test('a large output with wide characters is whole', async () => {
    const { stdout } = await run(['node', '-e', 'process.stdout.write("é𝒳\\n".repeat(300000))'])
    assert.ok(stdout === 'é𝒳\n'.repeat(300_000))
  })

  test('after its time it is killed, also if it ignores that, and whatever it has started', async (t) => {
    const pidFile = join(await tempFolder(t), 'pid')
    const script = `trap '' TERM INT HUP; echo $$ > ${pidFile}; sleep 20 & while :; do sleep 1; done`
    const started = Date.now()
    const { exitCode, signal } = await run(['sh', '-c', script], { timeout: 0.5 })
    assert.ok(Date.now() - started < 3000)
    assert.deepEqual([exitCode, signal], [null, 'SIGKILL'])
    assert.ok(!isAlive(Number(await readFile(pidFile, 'utf8'))))
  })

  test('one that ends in time is not killed, and keeps no timer', async () => {
    const { exitCode, stdout } = await run(['echo', 'ok'], { timeout: 600 })
    assert.deepEqual([exitCode, stdout], [0, 'ok\n'])
  })
})

describe('the environment of what is run', () => {
  test('no agent, no askpass, no display and no foreign locale or time zone come through; the rest does', async (t) => {
    const hidden = [
      'SSH_AUTH_SOCK',
      'SSH_AGENT_PID',
      'SSH_ASKPASS',
      'SSH_ASKPASS_REQUIRE',
      'DISPLAY',
      'LANG',
      'LC_TIME',
      'LANGUAGE',
      'TZ',
    ]
    withEnv(t, { ...Object.fromEntries(hidden.map((name) => [name, 'leaks'])), KNOX_TEST: 'stays' })
    const { stdout } = await run(['env'])
    assert.ok(!stdout.includes('leaks'), stdout)
    assert.match(stdout, /^KNOX_TEST=stays$/m)
    assert.match(stdout, /^LC_ALL=C$/m)
  })

  test('ZX_ variables change nothing', async (t) => {
    const dir = await tempFolder(t)
    await writeFile(
      join(dir, 'probe.mts'),
      `import { run } from '${join(import.meta.dirname, '../../../provision/system/process.ts')}'
const one = await run(['sh', '-c', '[ $(ps -o pgid= -p $$) -eq $$ ] && echo leader; echo "$0 $PWD"; env | grep -c ^ZX_'])
const two = await run(['sleep', '1.5'])
console.log(JSON.stringify([one.stdout, one.stderr, two.exitCode]))\n`,
    )
    const probe = ['node', '--import', 'tsx', join(dir, 'probe.mts')]
    const root = join(import.meta.dirname, '../../..')
    const clean = await run(['env', '-C', root, ...probe])
    assert.equal(clean.exitCode, 0, clean.stderr)
    const hostile = [
      'SHELL=/bin/false',
      'PREFIX=echo hacked;',
      'POSTFIX=; echo hacked',
      'CWD=/tmp',
      'TIMEOUT=1s',
      'VERBOSE=true',
      'QUIET=false',
      'PREFER_LOCAL=true',
      'DETACHED=true',
      'KILL_SIGNAL=SIGCONT',
      'TIMEOUT_SIGNAL=SIGCONT',
    ]
    // env(1) sets them, since run() would hide them
    const dirty = await run(['env', '-C', root, ...hostile.map((one) => `ZX_${one}`), ...probe])
    assert.equal(dirty.stdout, clean.stdout)
    assert.equal(dirty.stderr, clean.stderr)
  })

  test('neither bash nor anything else of the owner’s PATH is needed', async (t) => {
    const dir = await tempFolder(t)
    for (const name of ['node', 'env', 'cat']) await symlink(await which(name), join(dir, name))
    const file = join(import.meta.dirname, '../../../provision/system/process.ts')
    const code = `import('${file}').then(({ run }) => run(['cat'], { stdin: 'no bash' })).then((r) => console.log(r.stdout, r.exitCode))`
    const { stdout, stderr } = await run([
      'env',
      '-C',
      join(import.meta.dirname, '../../..'),
      `PATH=${dir}`,
      'node',
      '--import',
      'tsx',
      '-e',
      code,
    ])
    assert.equal(stdout, 'no bash 0\n', stderr)
  })
})
