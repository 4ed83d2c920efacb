import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import type { Change, Read, Runner } from '../../core/command.ts'
import { parseLogin } from '../../core/names.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Emit } from '../../core/events.ts'
import { quoteForLogin } from '../../core/quote.ts'
import { withLock } from '../../system/lock.ts'
import { openChannel, openSource } from '../../system/process.ts'
import { failureOf, HERE, runnerAt, type Place } from '../../system/runner.ts'
import { sshFailures } from '../../tools/ssh.ts'
import { makeFile } from '../copy-image.ts'
import { takeDown, takeDownCommands, workplaceOf } from '../workplace.ts'

/** The machine that builds: this one, or a FreeBSD at a distance, reached by the owner's own ssh and its configuration. */

/** `root@host`, `root@host:port`, or undefined for this machine. Throws `config` for what is none. */
export const builderPlace = (builder: string | undefined): Place => {
  if (builder === undefined) return HERE
  const login = parseLogin(builder)
  if (login === undefined)
    throw new KnoxError('config', `image.builder is not a machine: ${JSON.stringify(builder)}`, [
      'such as root@builder.lan:22',
    ])
  const byHand = `ssh -p ${login.port} ${login.user}@${login.host} true, by hand, shows why`
  const ssh = [
    'ssh',
    '-T',
    '-o',
    'BatchMode=yes',
    '-o',
    'ServerAliveInterval=30',
    '-p',
    login.port.toString(),
  ]
  return {
    name: builder,
    wrap: (argv) => [...ssh, `${login.user}@${login.host}`, '--', quoteForLogin(argv)],
    failures: sshFailures({
      otherKey: { message: `the host key of ${builder} is not known here, or is another one`, hint: byHand },
      denied: { message: `${builder} does not let you in by a key`, hint: byHand },
      silent: { message: `${builder} does not answer`, hint: 'is it switched on, and reachable from here?' },
    }),
  }
}

/** Holds the work folder for as long as its stdin is open: the lock ends with the connection. */
export const holdArgv = (folder: string): readonly string[] => [
  ...['/bin/sh', '-c', 'umask 022; mkdir -p "$1" && exec lockf -s -t 0 -k "$1/builder.lock" cat', 'sh'],
  folder,
]

/** lockf(1): the lock is taken */
const EX_TEMPFAIL = 75

/** Runs work that has the work folder of the build host to itself. Throws `busy` if another run has it. */
export const withWorkFolder = async <T>(
  place: Place,
  folder: string,
  emit: Emit,
  work: () => Promise<T>,
): Promise<T> => {
  if (place === HERE) {
    await mkdir(folder, { recursive: true, mode: 0o755 })
    return withLock(folder, work)
  }
  emit({ type: 'command', argv: holdArgv(folder), where: place.name })
  const channel = openChannel(place.wrap(holdArgv(folder)))
  await channel.writeLine('held')
  try {
    if ((await channel.readLine()) === undefined) {
      const end = await channel.ended
      if (end.exitCode === EX_TEMPFAIL)
        throw new KnoxError('busy', `another knox is at work on ${place.name}, in ${folder}`, [
          'wait until it has ended, or build in another folder: --work DIR',
        ])
      throw failureOf(end, end.exitCode === 255 ? place.failures : [], `on ${place.name}`)
    }
    return await work()
  } finally {
    channel.end()
    await channel.ended
  }
}

const FULL = {
  pattern: /No space left|full/,
  code: 'no-space',
  message: 'the build host has no room for the image',
} as const

/** Copies the raw image to the file that is customised; the raw one stays as it was built. */
export const copyThere = (from: string, to: string): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', 'umask 077; cp "$1" "$2.new" && mv "$2.new" "$2"', 'sh', from, to],
  failures: [FULL],
})

export const dropThere = (image: string): Change => ({
  effect: 'change',
  argv: ['rm', '-f', image, `${image}.new`],
})

/** The lock of a run that customised the copy, for who has the whole work folder. */
const dropLock = (image: string): Change => ({
  effect: 'change',
  argv: ['rm', '-f', `${workplaceOf(image).folder}/lock`],
})

/** Takes down and drops the copy that a run which was killed has left. Throws `busy` if others use it. */
export const clearThere = async (runner: Runner, image: string): Promise<void> => {
  await runner.act(dropLock(image))
  await takeDown(runner, workplaceOf(image))
  await runner.act(dropThere(image))
}

/** What clearThere runs where nothing is left. */
export const clearCommands = (image: string): readonly (Change | Read<unknown>)[] => [
  dropLock(image),
  ...takeDownCommands(workplaceOf(image)),
  dropThere(image),
]

/** Work on a copy of an image that becomes the box's: it holds the host key then, and does not outlive the work. */
export const withCopy = async (
  place: Place,
  image: string,
  emit: Emit,
  work: () => Promise<void>,
): Promise<void> => {
  const tidy = runnerAt(place, emit, 120, true)
  await work().catch(async (error: unknown) => {
    await tidy.act(dropThere(image)).catch(() => undefined)
    throw error
  })
  await tidy.act(dropThere(image))
}

/** The argv that takes a packed image from stdin, on the build host; all of it is written, for a hole may not be filled later. */
export const receiveArgv = (to: string): readonly string[] => [
  ...['/bin/sh', '-c'],
  'set -e; umask 077; mkdir -p "${1%/*}"; xz -d -c --no-sparse >"$1.new"; mv "$1.new" "$1"',
  ...['sh', to],
]

/** The argv that feeds it, here. */
export const sendArgv = (from: string, isPacked: boolean): readonly string[] =>
  isPacked ? ['cat', from] : ['xz', '-0', '-c', '--', from]

/** Sends an image to the build host; what arrives is for the caller to compare. Throws `connection-lost`, `no-space`. */
export const sendThere = async (
  place: Place,
  { from, isPacked }: { readonly from: string; readonly isPacked: boolean },
  to: string,
  emit: Emit,
): Promise<void> => {
  emit({ type: 'step', title: `sending ${from} to ${place.name}` })
  emit({ type: 'command', argv: receiveArgv(to), where: place.name })
  const channel = openChannel(place.wrap(receiveArgv(to)))
  const fed = await channel.feed(sendArgv(from, isPacked), () => undefined).ended
  channel.end()
  const end = await channel.ended
  if (end.exitCode !== 0)
    throw failureOf(end, [...(end.exitCode === 255 ? place.failures : []), FULL], `on ${place.name}`)
  if (fed.exitCode !== 0) throw failureOf(fed, [])
  emit({ type: 'done', title: `${from} is on ${place.name}` })
}

/** SHA-256 of a file on the build host. */
export const hashThere = (path: string): Read<string> => ({
  effect: 'read',
  argv: ['sha256', '-q', path],
  parse: (stdout) => stdout.trim(),
})

/** The argv that writes the image to stdout, packed quickly, on the build host. */
export const packThere = (image: string): readonly string[] => ['xz', '-0', '-c', image]

/** Brings an image from the build host to a file here, packed by xz(1) on the way. Throws `connection-lost`. */
export const bringHome = async (place: Place, image: string, to: string, emit: Emit): Promise<void> => {
  emit({ type: 'step', title: `bringing the image from ${place.name}` })
  const file = await makeFile(to, async (handle) => {
    const source = openSource(place.wrap(packThere(image)))
    const hash = createHash('sha256')
    try {
      let at = 0
      for await (const piece of source.output) {
        hash.update(piece)
        for (let done = 0; done < piece.length;)
          done += (await handle.write(piece, done, piece.length - done, at + done)).bytesWritten
        at += piece.length
      }
      const end = await source.ended
      if (end.exitCode !== 0) throw failureOf(end, place.failures, `on ${place.name}`)
    } finally {
      source.kill()
    }
    return hash.digest('hex')
  })
  await file.finish()
  emit({ type: 'done', title: `the image is here: ${to}` })
}
