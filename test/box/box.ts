import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

/** The box's script on this machine, with small strict stand-ins for geli, zpool and zfs, and short time limits. */

export const BIN = fileURLToPath(new URL('bin', import.meta.url))
const TEMPLATE = readFileSync(new URL('../../templates/knox-zfs-receive.sh.hbs', import.meta.url), 'utf8')

export const KEY = 'the right key'

/** The shells that a box may have; FreeBSD's sh is an ash like dash and busybox's. */
export const SHELLS: readonly (readonly [string, readonly string[]])[] = [
  ['dash', ['dash']],
  ['busybox ash', ['busybox', 'ash']],
  ['mksh', ['mksh']],
  ['bash', ['bash', '--posix']],
]

export const missing = (shell: readonly string[]): string | false =>
  spawnSync(shell[0] ?? '', ['-c', ':']).error === undefined || shell[0] === 'busybox'
    ? false
    : `${shell[0] ?? ''} is not installed`

export interface Peer {
  readonly child: ChildProcessWithoutNullStreams
  readonly say: (text: string | Buffer) => void
  /** waits for the next line */
  readonly line: () => Promise<string | undefined>
  readonly ended: Promise<number | null>
}

export interface TestBox {
  readonly state: string
  readonly flag: (name: string, text?: string) => void
  readonly log: () => string
  /** `words` other than the certificate's own are for tests of what it refuses */
  readonly session: (env?: Record<string, string>, words?: readonly string[]) => Peer
  /** a session whose end nobody asks for: killed, it stays in the list of processes */
  readonly sessionOfNobody: () => Peer
  /** a session as sshd starts it: below a process of that name, by a login shell that waits for it; the child is sshd */
  readonly sessionBySshd: () => Peer
  readonly key: (bytes?: string | Buffer) => Promise<{ status: number | null; stdout: string }>
  /** a session that is unlocked already, or this one, which is then */
  readonly unlocked: (session?: Peer) => Promise<Peer>
  /** waits until nothing is left, or tells what is */
  readonly settled: () => Promise<void>
  readonly remove: () => void
}

/** What a test may have otherwise than other boxes. */
export interface BoxChanges {
  /** the folder of the stand-ins, and PATH */
  readonly bin: string
  readonly path: string
  /** where the script runs */
  readonly cwd: string
  readonly edit: (script: string) => string
}

export const makeBox = (shell: readonly string[], changes?: (state: string) => BoxChanges): TestBox => {
  const state = mkdtempSync(join(tmpdir(), 'knox-box-'))
  const { bin, path, cwd, edit } = changes?.(state) ?? {
    bin: BIN,
    path: `${BIN}:${process.env['PATH'] ?? ''}`,
    cwd: process.cwd(),
    edit: (text: string) => text,
  }
  for (const dir of ['dev', 'run']) mkdirSync(join(state, dir))
  for (const file of ['dev/da0', 'log', 'sums', 'snapshots']) writeFileSync(join(state, file), '')
  writeFileSync(join(state, 'datasets'), 'wd\n')
  writeFileSync(join(state, 'right-key'), KEY)
  const script = join(state, 'knox-zfs-receive.sh')
  const [program = '', ...options] = shell
  const text = TEMPLATE.replaceAll('{{name}}', 'knox')
    .replaceAll('{{disk}}', 'da0')
    .replaceAll('{{pool}}', 'wd')
    .replaceAll('/var/run/knox', join(state, 'run'))
    .replaceAll('/dev/$disk', `${state}/dev/$disk`)
    .replace(/^key_seconds=60/m, 'key_seconds=12')
    .replace(/^export_seconds=40/m, 'export_seconds=2')
    .replace(/^force_seconds=10/m, 'force_seconds=2')
    .replace(/^silent_seconds=20/m, 'silent_seconds=4')
    // busybox would take its own
    .replaceAll(/\b(u?mount) (-t zfs|"\$look"|-f "\$look")/g, `${bin}/$1 $2`)
    .replaceAll(/\breboot (-q|-n -q)/g, `${bin}/reboot $1`)
    .replaceAll(/\bsysctl debug/g, `${bin}/sysctl debug`)
    .replaceAll('within 20 ', 'within 2 ')
    .replaceAll('within 10 zpool', 'within 2 zpool')
    .replace(/^anchor_seconds=300/m, 'anchor_seconds=9')
    .replace(/^freeing_seconds=20/m, 'freeing_seconds=4')
    .replace(/^idle_seconds=900/m, 'idle_seconds=6')
    // the guard is started by the script's own name: give it the shell under test
    .replaceAll('"$0" guard', `${shell.join(' ')} "$0" guard`)
  // this machine must never be the one that restarts
  assert.equal(text.split(/\breboot\b/).length, text.split(`${bin}/reboot`).length)
  writeFileSync(script, edit(text), { mode: 0o700 })
  const env = { PATH: path, STATE: state }

  const children: ChildProcessWithoutNullStreams[] = []
  const start = (
    words: readonly string[],
    more: Record<string, string> = {},
    argv: readonly string[] = [program, ...options, script, ...words],
  ): Peer => {
    const child = spawn(argv[0] ?? '', argv.slice(1), { cwd, env: { ...env, ...more } })
    children.push(child)
    child.stdin.on('error', () => undefined)
    child.stderr.resume()
    const lines: string[] = []
    const waiting: ((line: string | undefined) => void)[] = []
    let rest = ''
    let over = false
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const parts = (rest + chunk).split('\n')
      rest = parts.pop() ?? ''
      for (const part of parts) {
        const reader = waiting.shift()
        if (reader === undefined) lines.push(part)
        else reader(part)
      }
    })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    child.stdout.on('close', () => {
      over = true
      for (const reader of waiting.splice(0)) reader(undefined)
    })
    return {
      child,
      ended,
      say: (bytes) => void child.stdin.write(bytes),
      line: () =>
        new Promise((resolve) => {
          const line = lines.shift()
          if (line !== undefined || over) resolve(line)
          else waiting.push(resolve)
        }),
    }
  }

  const line = [...shell, script, 'session'].join(' ')

  const key: TestBox['key'] = async (bytes = KEY) => {
    const writer = start(['key'])
    writer.child.stdin.end(bytes)
    const stdout = (await writer.line()) ?? ''
    return { status: await writer.ended, stdout }
  }

  const left = (): readonly string[] => {
    const files = ['run/key', 'run/session', 'run/guard', 'dev/da0.eli', 'imported'].filter((file) =>
      existsSync(join(state, file)),
    )
    const running = spawnSync('pgrep', ['-f', script], { encoding: 'utf8' }).stdout.trim()
    return running === '' ? files : [...files, `processes ${running}`]
  }

  return {
    state,
    key,
    flag: (name, content = '') => writeFileSync(join(state, name), content),
    log: () => readFileSync(join(state, 'log'), 'utf8'),
    session: (more, words = ['session']) => start(words, more),
    sessionOfNobody: () =>
      start([], {}, ['sh', '-c', `exec 3<&0; ${line} <&3 & exec sleep 60 3<&- >/dev/null`]),
    sessionBySshd: () => {
      const sshd = join(state, 'sshd')
      symlinkSync('/bin/sh', sshd)
      return start([], {}, [sshd, '-c', `sh -c '${line}; :'; :`])
    },
    unlocked: async (session = start(['session'])) => {
      assert.equal(await session.line(), 'knox 1 knox locked')
      session.say('unlock\n')
      assert.equal(await session.line(), 'waiting')
      await key()
      assert.equal(await session.line(), 'unlocked')
      return session
    },
    settled: async () => {
      for (let waited = 0; waited < 200 && left().length > 0; waited += 1) await sleep(100)
      assert.deepEqual(left(), [])
    },
    remove: () => {
      for (const child of children) {
        child.kill('SIGKILL')
        // what a killed script has started may hold these for a while
        for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy()
      }
      rmSync(state, { recursive: true, force: true })
    },
  }
}

/** A stream of the zfs stand-in. */
export const stream = (bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(bytes.length.toString().padStart(6, '0')), bytes])

/** A test with a box of its own under this shell; whatever it does, nothing may be left. */
export const testsUnder =
  (shell: readonly string[]) =>
  (title: string, work: (box: TestBox) => Promise<void>, skip: string | false = false) =>
    test(title, { skip }, async () => {
      const box = makeBox(shell)
      try {
        await work(box)
        await box.settled()
      } finally {
        box.remove()
      }
    })
