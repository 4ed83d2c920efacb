import type { Change, Read } from '../../core/command.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Emit } from '../../core/events.ts'
import { printable } from '../../core/names.ts'
import { formatDuration } from '../../core/sizes.ts'
import { openChannel } from '../../system/process.ts'
import { runnerAt, type Place } from '../../system/runner.ts'
import type { Workspace } from './workspace.ts'

/** Running crochet: its phases for the terminal, its errors for people. */

/** What crochet says when it begins something, and what that is. Its own words at commit 65fd598. */
const PHASES: readonly (readonly [RegExp, string])[] = [
  [/^Building FreeBSD \S+ world/, 'building the world: the longest part'],
  [/^Using FreeBSD \S+ world from previous build/, 'the world of the build before is used'],
  [/^Building FreeBSD \S+ kernel/, 'building the kernel and its modules'],
  [/^Using FreeBSD \S+ kernel from previous build/, 'the kernel of the build before is used'],
  [/^Building FreeBSD \S+ ubldr/, 'building the boot loader'],
  [/^Installing FreeBSD world/, 'installing the world into the image'],
  [/^Installing FreeBSD kernel/, 'installing the kernel into the image'],
]

/** The phase that begins with a line of crochet; undefined for all other lines. */
export const phaseOf = (line: string): string | undefined =>
  PHASES.find(([pattern]) => pattern.test(line))?.[1]

/** The log that a failure names: `Log in FILE`, `Log: FILE`. */
export const logNamed = (line: string): string | undefined => /\bLog(?: in|:) (\/\S+)$/.exec(line.trim())?.[1]

/** The log that make writes from here on: `(Logging to FILE)`. */
export const logBegun = (line: string): string | undefined =>
  /^\(Logging to (\/\S+)\)$/.exec(line.trim())?.[1]

/** What make, the compiler and config(8) print where something went wrong. */
const ERROR =
  /(?:^|\s)(?:fatal )?error: |: undefined reference|^config: |No space left|^make.*don't know how to make|internal compiler error|Killed$/
/** these may be an error, or a step that does not mind */
const MAYBE_ERROR = /: not found$|: No such file/
/** what make says of a command that failed; all that follows is the echo of it */
const ECHO = /^\*\*\* (?:Error code|\[|Signal)/
const MOST_ERRORS = 8

/** The lines of a log that say what went wrong: the real errors before the first echo of make, else that echo, else the last lines. */
export const errorLines = (log: string): readonly string[] => {
  const all = log.split('\n').map((line) => printable(line.trim()).slice(0, 300))
  const echo = all.findIndex((line) => ECHO.test(line))
  const lines = echo === -1 ? all : all.slice(0, echo + 1)
  for (const pattern of [ERROR, MAYBE_ERROR]) {
    const found = lines.filter((line) => pattern.test(line))
    if (found.length > 0) return found.slice(0, MOST_ERRORS)
  }
  return echo === -1 ? lines.filter((line) => line !== '').slice(-3) : lines.slice(-4)
}

/** The lines before the first echo; a log has 100 MB, and the build host may be far away. */
const BEFORE_ECHO = [
  'n=$(grep -n -E "^[*][*][*] (Error code|[[]|Signal)" "$1" 2>/dev/null | head -n 1 | cut -d : -f 1)',
  'head -n "${n:-999999999}" "$1" 2>/dev/null | tail -n 500; exit 0',
].join('\n')

/** What errorLines makes of a log on the build host. */
export const errorsIn = (log: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', BEFORE_ECHO, 'sh', log],
  parse: errorLines,
})

const lastLine = (log: string): Read<string> => ({
  effect: 'read',
  argv: ['tail', '-n', '1', log],
  parse: (stdout) => printable(stdout.trim()),
})

const EXIT = 'knox-exit '

/** Runs in the background so that a TERM can end all of it: make and its compilers are children of children. */
const SCRIPT = [
  'kill_tree() { for c in $(pgrep -P "$1"); do kill_tree "$c"; done; kill "$1" 2>/dev/null; }',
  'cd "$1" || exit 1',
  ': >"$3"',
  "trap 'for c in $(pgrep -P $$); do kill_tree $c; done; wait; exit 143' TERM HUP INT",
  '{ trap - TERM HUP INT; nice -n 20 /bin/sh crochet.sh -c "$2" </dev/null; echo "knox-exit $?"; } 2>&1 | tee -a "$3" &',
  'echo "$$" >"$4"',
  'wait',
  'rm -f "$4"',
].join('\n')

/**
 * The words that run crochet; its output goes to the log and to us. It reads nothing from a terminal. It takes as many jobs
 * as there are processors, and puts its objects into WORKDIR unless the environment says otherwise.
 */
export const crochetArgv = ({ crochet, configFile, log, pid }: Workspace): readonly string[] => [
  ...['env', '-u', 'MAKEOBJDIRPREFIX'],
  ...['/bin/sh', '-c', SCRIPT, 'crochet', crochet, configFile, log, pid],
]

const END = [
  'p=$(cat "$1" 2>/dev/null) && ps -ww -o args= -p "$p" 2>/dev/null | grep -q crochet || exit 0',
  'kill "$p"; n=0',
  'while kill -0 "$p" 2>/dev/null && [ $n -lt 80 ]; do n=$((n + 1)); sleep 0.5; done',
].join('\n')

/** Ends crochet and waits for it: at a distance it does not notice that nobody listens any more. */
export const endCrochet = ({ pid }: Workspace): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', END, 'sh', pid],
})

const PULSE = 15_000

/**
 * Runs crochet to its end and tells its phases with the time they take, and every `pulse` milliseconds the last line.
 * Resolves with no failure if it came to its end, else with the log that has its errors: the one that its last words name,
 * or that make was writing, or its own.
 */
export const runCrochet = async (
  space: Workspace,
  place: Place,
  emit: Emit,
  pulse = PULSE,
): Promise<{ readonly failed: false } | { readonly failed: true; readonly log: string }> => {
  const argv = crochetArgv(space)
  emit({ type: 'command', argv, where: place.name })
  const channel = openChannel(place.wrap(argv))
  const started = Date.now()
  let phase = 'preparing'
  let last = ''
  let named: string | undefined
  let begun: string | undefined
  let code: string | undefined
  const tell = () => {
    const time = formatDuration((Date.now() - started) / 1000)
    emit({ type: 'step', title: `${phase}, ${time}${last === '' ? '' : `: ${last.slice(0, 60)}`}` })
  }
  // only a look, each of them the same: the commands that are shown are those that do the work
  const runner = runnerAt(place, () => undefined, 60, true)
  const look = async () => {
    if (begun !== undefined) last = await runner.read(lastLine(begun)).catch(() => last)
    tell()
  }
  let looking = Promise.resolve()
  const timer = setInterval(() => {
    looking = looking.then(look)
  }, pulse)
  try {
    tell()
    for (let line = await channel.readLine(); line !== undefined; line = await channel.readLine()) {
      if (line.startsWith(EXIT)) code = line.slice(EXIT.length)
      else if (line.trim() !== '') {
        last = printable(line.trim())
        begun = logBegun(line)
      }
      named = logNamed(line) ?? named
      const begins = phaseOf(line)
      if (begins === undefined) continue
      if (phase !== begins)
        emit({ type: 'done', title: `${phase} (${formatDuration((Date.now() - started) / 1000)})` })
      phase = begins
      tell()
    }
  } finally {
    clearInterval(timer)
    channel.kill()
    await looking
  }
  const end = await channel.ended
  if (code === '0') {
    emit({
      type: 'done',
      title: `crochet has built ${space.raw} in ${formatDuration((Date.now() - started) / 1000)}`,
    })
    return { failed: false }
  }
  if (code === undefined && place.failures.length > 0 && end.exitCode === 255)
    throw new KnoxError('connection-lost', 'the connection to the build host broke', [
      'run it again: it goes on from there',
    ])
  return { failed: true, log: named ?? begun ?? space.log }
}
