import { spawn, type ChildProcess } from 'node:child_process'
import type { Writable } from 'node:stream'
import { $ } from 'zx/core'
import { KnoxError } from '../core/errors.ts'
import { quote } from '../core/quote.ts'
import { Secret } from '../core/secret.ts'

/** The one place that starts processes. Single commands go through zx, streams through kernel pipes. */

export interface Result {
  readonly argv: readonly string[]
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

export interface Output extends Result {
  readonly stdout: string
}

const KEPT_STDERR = 64 * 1024

/** The environment of every process: C locale and the system's time zone for parsing, no agent, nothing of zx. */
const environment = (): NodeJS.ProcessEnv => {
  const hidden = /^(?:SSH_AUTH_SOCK|SSH_AGENT_PID|SSH_ASKPASS.*|DISPLAY|ZX_.*|LANG|LANGUAGE|LC_.*|TZ)$/
  const kept = Object.entries(process.env).filter(([name]) => !hidden.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
}

const running = new Set<ChildProcess>()
let stopping = false

/** Remembers a process until it has ended, so that an interrupted knox leaves none behind. */
const track = <T extends ChildProcess>(child: T): T => {
  const forget = () => running.delete(child)
  running.add(child)
  child.once('error', forget).once('exit', forget)
  child.stdin?.on('error', () => undefined) // EPIPE: the child's end tells why
  return child
}

/** told when the run is to end */
const stopListeners = new Set<() => void>()

/** Waits so many seconds; throws `interrupted` if the owner wants an end before. */
export const pause = (seconds: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const finish = () => {
      clearTimeout(timer)
      stopListeners.delete(interrupt)
    }
    const interrupt = () => {
      finish()
      reject(new KnoxError('interrupted', 'stopped'))
    }
    const timer = setTimeout(() => {
      finish()
      resolve()
    }, seconds * 1000)
    stopListeners.add(interrupt)
    if (stopping) interrupt()
  })

const refuseIfStopping = () => {
  if (stopping) throw new KnoxError('interrupted', 'stopped')
}

const KILL_AFTER = 3000
const LAST_WORDS = 200

/** Asks a process to end, and kills it if it does not. What it started itself may live on, but is not waited for. */
const stop = (child: ChildProcess): void => {
  const letGo = () => {
    for (const stream of child.stdio) stream?.destroy()
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER)
  const ended = () => {
    clearTimeout(timer)
    setTimeout(letGo, LAST_WORDS)
  }
  if (running.has(child)) {
    child.once('exit', ended)
    child.kill('SIGTERM')
  } else ended()
}

/** For an interrupted run: ends all that was started, and starts nothing more. Resolves when all are gone. */
export const stopProcesses = async (): Promise<void> => {
  stopping = true
  for (const interrupt of stopListeners) interrupt()
  await Promise.all(
    [...running].map(
      (child) =>
        new Promise((resolve) => {
          child.once('exit', resolve).once('error', resolve)
          stop(child)
        }),
    ),
  )
}

const PREFIX = 'exec '

/** bytes of a command as the shell reads it: Linux gives one word of execve(2) 128 KiB with its end, FreeBSD twice that to all */
export const LONGEST_COMMAND = 128 * 1024 - 1 - PREFIX.length

// every default of zx that the environment could change is set here (ZX_SHELL, ZX_PREFIX ... are then ignored)
const shell = $({
  shell: '/bin/sh',
  prefix: PREFIX,
  postfix: '',
  cwd: '',
  preferLocal: false,
  detached: false,
  timeout: 0,
  killSignal: 'SIGKILL',
  timeoutSignal: 'SIGKILL',
  quote,
  quiet: true,
  verbose: false,
  nothrow: true,
  spawn: ((...words: Parameters<typeof spawn>) => track(spawn(...words))) as typeof spawn,
})

/** what must come to its end even if the owner stops the run */
const tidying = new Set<Promise<unknown>>()

/**
 * Runs work that leaves something behind if it is cut off, such as a mount: a run that is stopped is not ended by force
 * while it is under way. It takes down by commands with `evenWhenStopped`, for all others fail then.
 */
export const tidyUp = async <T>(work: () => Promise<T>): Promise<T> => {
  const task = work()
  tidying.add(task)
  try {
    return await task
  } finally {
    tidying.delete(task)
  }
}

/** True while work of tidyUp is under way. */
export const isTidying = (): boolean => tidying.size > 0

export interface RunOptions {
  readonly stdin?: string | Secret
  /** for what takes down: it runs although the owner wants an end */
  readonly evenWhenStopped?: boolean
  /** seconds until the process is killed; its exit code is then null */
  readonly timeout?: number
  /** more variables for its environment */
  readonly env?: Readonly<Record<string, string>>
}

/** Runs one command to its end and keeps what it prints. Never throws for a failing command. */
export const run = async (argv: readonly string[], options: RunOptions = {}): Promise<Output> => {
  if (options.evenWhenStopped !== true) refuseIfStopping()
  // a buffer always: zx leaves the stdin of a child open if this is an empty string
  const input = options.stdin instanceof Secret ? options.stdin.reveal() : Buffer.from(options.stdin ?? '')
  // zx joins what it reads as text, which breaks a letter of several bytes at the edge of two chunks
  const store = { stdout: [] as Buffer[], stderr: [] as Buffer[], stdall: [] }
  const command = shell({ input, env: { ...environment(), ...options.env }, store })`${argv}`
  const expire = () => {
    const { child } = command
    child?.kill('SIGKILL')
    // what it started itself may live on and hold these open
    child?.stdout?.destroy()
    child?.stderr?.destroy()
  }
  const timer = options.timeout === undefined ? undefined : setTimeout(expire, options.timeout * 1000)
  const { exitCode, signal } = await command.finally(() => clearTimeout(timer))
  const [stdout, stderr] = [store.stdout, store.stderr].map((chunks) => Buffer.concat(chunks).toString())
  return { argv, exitCode, signal, stdout: stdout ?? '', stderr: stderr ?? '' }
}

/** Collects a child's end: exit code, signal and the last 64 KiB of stderr. */
const ended = (
  argv: readonly string[],
  child: ChildProcess,
  onStderr?: (text: string) => void,
): Promise<Result> =>
  new Promise((resolve) => {
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-KEPT_STDERR)
      onStderr?.(text)
    })
    child.on('error', (error) => resolve({ argv, exitCode: 127, signal: null, stderr: error.message }))
    child.on('close', (exitCode, signal) => resolve({ argv, exitCode, signal, stderr }))
  })

export interface Channel {
  readonly argv: readonly string[]
  /** The next line of the peer without its newline, undefined at the end of its output. */
  readLine(): Promise<string | undefined>
  /** Sends one line; resolves once the kernel has it. Writing to a peer that has gone is not an error here. */
  writeLine(line: string): Promise<void>
  /** Starts argv with its stdout joined to the peer's stdin by the kernel; no byte passes through JavaScript. */
  feed(argv: readonly string[], onStderr: (text: string) => void): Feed
  /** Closes the peer's stdin. */
  end(): void
  kill(): void
  /** Resolves when the peer has ended. */
  readonly ended: Promise<Result>
}

export interface Feed {
  readonly ended: Promise<Result>
  kill(): void
}

/**
 * A child that got this stream as its stdout has made it block, for us too: a full one would then stop all of node.
 * node has no public call for it; where this one is missing nothing else is lost.
 */
const unblock = (stream: Writable): void => {
  const { _handle } = stream as { _handle?: { setBlocking?: (on: boolean) => number } | null }
  _handle?.setBlocking?.(false)
}

const LONGEST_LINE = 64 * 1024
/** lines nobody has read yet, after which the peer has to wait */
const MOST_UNREAD = 10_000

/** Starts a peer that is talked to in lines, such as ssh into the box. */
export const openChannel = (argv: readonly string[]): Channel => {
  refuseIfStopping()
  const [file = '', ...args] = argv
  const child = track(spawn(file, args, { env: environment(), stdio: ['pipe', 'pipe', 'pipe'] }))
  const { stdin, stdout } = child
  const lines: string[] = []
  const waiting: ((line: string | undefined) => void)[] = []
  let rest = ''
  let over = false
  let killed = false

  const kill = () => {
    killed = true
    stdout.resume() // a paused one would never end
    stop(child)
  }
  const deliver = (line: string) => {
    const reader = waiting.shift()
    if (reader === undefined) lines.push(line)
    else reader(line)
  }
  const finish = () => {
    over = true
    for (const reader of waiting.splice(0)) reader(undefined)
  }
  stdout.setEncoding('utf8').on('data', (text: string) => {
    if (killed) return
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    for (const part of parts) deliver(part)
    if (rest.length > LONGEST_LINE) kill()
    else if (lines.length > MOST_UNREAD) stdout.pause()
  })
  stdout.on('end', finish).on('error', finish).on('close', finish)
  child.on('error', finish)

  return {
    argv,
    readLine: () =>
      new Promise((resolve) => {
        const line = lines.shift()
        if (lines.length === 0) stdout.resume()
        if (line !== undefined || over) resolve(line)
        else waiting.push(resolve)
      }),
    writeLine: (line) => new Promise((resolve) => stdin.write(`${line}\n`, () => resolve())),
    feed: (feedArgv, onStderr) => {
      refuseIfStopping()
      const [program = '', ...words] = feedArgv
      if (stdin.destroyed) {
        const gone = { argv: feedArgv, exitCode: null, signal: 'SIGPIPE' as const, stderr: '' }
        return { ended: Promise.resolve(gone), kill: () => undefined }
      }
      const feeder = track(spawn(program, words, { env: environment(), stdio: ['ignore', stdin, 'pipe'] }))
      const end = ended(feedArgv, feeder, onStderr).finally(() => unblock(stdin))
      return { ended: end, kill: () => stop(feeder) }
    },
    end: () => stdin.end(),
    kill,
    ended: ended(argv, child),
  }
}

export interface Source {
  /** what it writes to stdout; nobody reading holds it back */
  readonly output: AsyncIterable<Buffer>
  /** Resolves when it has ended and its output was read or given up. */
  readonly ended: Promise<Result>
  kill(): void
}

/** Starts a program whose output is wanted as bytes, such as `xz -dc`. For `zfs send` there is `openChannel().feed`. */
export const openSource = (argv: readonly string[]): Source => {
  refuseIfStopping()
  const [file = '', ...args] = argv
  const child = track(spawn(file, args, { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] }))
  const kill = () => {
    child.stdout.destroy()
    stop(child)
  }
  return { output: child.stdout, ended: ended(argv, child), kill }
}

/** Runs argv on the owner's terminal, for programs that ask by themselves. Resolves with its exit code. */
export const runOnTerminal = (argv: readonly string[]): Promise<number | null> =>
  new Promise((resolve) => {
    const [file = '', ...args] = argv
    const child = spawn(file, args, { stdio: 'inherit' })
    child.on('error', () => resolve(127))
    child.on('close', resolve)
  })
