import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isAllowed, PROGRAMS, TOOLS } from './allowed-calls.ts'
import { BIN, KEY, makeBox, type TestBox } from './box.ts'

/** A test box whose script can reach nothing but stand-ins, which write down their words, and the tools it is known to use. */

/** the program itself: a shell would name what is built into it */
const toolOf = (name: string): string => {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/bin', '/usr/sbin', '/sbin']
  const folder = folders.find((one) => existsSync(join(one, name)))
  assert.ok(folder !== undefined, `${name} is not installed`)
  return join(folder, name)
}

const RECORD = (name: string) => `#!/bin/sh
# its words, apart from each other, in one write
printf '%s\\037' ${name} "$@" "$(printf '\\036')" >>"$STATE/argv"
exec "${BIN}/${name}" "$@"
`

export const replaceOnce = (text: string, from: string, to: string): string => {
  assert.equal(text.split(from).length, 2, `the script has no ${from}, or several`)
  return text.replace(from, to)
}

/** A box whose script runs in an empty folder, and starts nothing but stand-ins that write down their words. */
export const closedBox = (
  shell: readonly string[],
  mostRefusals = 20,
  mutate = (text: string) => text,
): TestBox => {
  const box = makeBox(shell, (state) => {
    const bin = join(state, 'bin')
    const cwd = join(state, 'cwd')
    mkdirSync(bin)
    mkdirSync(join(cwd, 'M'), { recursive: true })
    for (const name of PROGRAMS) writeFileSync(join(bin, name), RECORD(name), { mode: 0o755 })
    for (const name of [shell[0]!, ...TOOLS]) symlinkSync(toolOf(name), join(bin, name))
    return {
      bin,
      cwd,
      path: bin,
      edit: (text) =>
        replaceOnce(
          replaceOnce(mutate(text), 'PATH=$PATH:/sbin:/bin:/usr/sbin:/usr/bin\n', `HOME=${cwd}\n`),
          'most_refusals=20',
          `most_refusals=${mostRefusals}`,
        )
          // a tenth of the waits, and ten times as many
          .replaceAll('sleep 0.2', 'sleep 0.02')
          .replaceAll(' * 5)', ' * 50)')
          // nothing here is to run out of time, on a busy machine neither
          .replaceAll(/^(key|export|force|anchor|idle)_seconds=[0-9]+/gm, '$1_seconds=20'),
    }
  })
  mkdirSync(join(box.state, 'files'))
  writeFileSync(join(box.state, 'files', 'cat'), 'meow')
  symlinkSync('/etc/passwd', join(box.state, 'files', 'link'))
  writeFileSync(join(box.state, 'datasets'), 'wd\nwd/a\n')
  const names = Array.from({ length: 40 }, (_, n) => `wd/a@s${n + 1}\n`)
  writeFileSync(join(box.state, 'snapshots'), names.join(''))
  return box
}

/** The calls that were made so far, each with its words apart. */
export const callsOf = (box: TestBox): readonly (readonly string[])[] => {
  const path = join(box.state, 'argv')
  const text = existsSync(path) ? readFileSync(path, 'latin1') : ''
  return text
    .split('\u001e\u001f')
    .slice(0, -1)
    .map((call) => call.split('\u001f').slice(0, -1))
}

/** what the stand-ins and makeBox keep beside the run folder */
const KNOWN = [
  ...[
    'bin',
    'cwd',
    'dev',
    'run',
    'files',
    'log',
    'argv',
    'sums',
    'snapshots',
    'datasets',
    'right-key',
    'received',
  ],
  ...['held', 'marks', 'spent', 'quiet', 'last', 'scrubbing', 'mounted', 'tokens', 'knox-zfs-receive.sh'],
]

/** Nothing was called so far that may not be. */
export const assertCalls = (box: TestBox): void => {
  for (const argv of callsOf(box)) assert.ok(isAllowed(argv, box.state), `called: ${JSON.stringify(argv)}`)
}

/** Nothing was called that may not be, nothing was made outside of the run folder, and all is locked. */
export const assertUnharmed = async (box: TestBox, script: string): Promise<void> => {
  assertCalls(box)
  assert.deepEqual(readdirSync(join(box.state, 'cwd'), { recursive: true }), ['M'])
  assert.deepEqual(
    readdirSync(box.state).filter((name) => !KNOWN.includes(name)),
    [],
  )
  assert.deepEqual(readdirSync(join(box.state, 'dev')), ['da0'])
  assert.equal(readFileSync(join(box.state, 'right-key'), 'utf8'), KEY)
  assert.equal(readFileSync(join(box.state, 'knox-zfs-receive.sh'), 'utf8'), script)
  await box.settled()
  assert.deepEqual(readdirSync(join(box.state, 'run')), [])
}

export const inTime = async <T>(work: Promise<T>, seconds: number, what: string): Promise<T> => {
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), seconds * 1000)
  const aborted = new Promise<never>((_, reject) =>
    late.signal.addEventListener('abort', () => reject(new Error(`${what}: no answer in ${seconds} s`))),
  )
  return Promise.race([work, aborted]).finally(() => clearTimeout(timer))
}
