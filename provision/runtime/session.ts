import { KnoxError, type ErrorCode } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import { SSH_FAILURES } from '../tools/ssh.ts'
import { parseInventory, parseProgress, type Dataset } from '../tools/zfs.ts'
import type { Channel, Result } from '../system/process.ts'
import { failureOf } from '../system/runner.ts'

/** Home's side of the protocol in docs/session.md: one connection, lines both ways, streams in between. */

export type DiskState = 'locked' | 'unlocked' | 'missing'

export interface BoxInventory {
  readonly pool: {
    readonly name: string
    readonly guid: string
    readonly used: number
    readonly available: number
  }
  readonly datasets: readonly Dataset[]
}

export interface StreamProgress {
  readonly bytes: number
}

export interface Session {
  readonly disk: DiskState
  /** Unlocks the disk: `sendKey` opens the second connection and is called when the box waits for the key. */
  unlock(sendKey: () => Promise<Result>): Promise<void>
  list(): Promise<BoxInventory>
  /** Sends one stream into a dataset of the box; returns the guid of the newest snapshot there. */
  receive(
    kind: 'full' | 'incremental',
    dataset: string,
    send: readonly string[],
    onProgress: (progress: StreamProgress) => void,
  ): Promise<string>
  place(dataset: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Ends the session; resolves only if the box says that its disk is locked. */
  bye(): Promise<void>
  /** Ends a session that has failed: returns the error to report, which is `left-unlocked` if the box says so. */
  abandon(cause: unknown): Promise<unknown>
}

/** seconds within which the box must answer; a dead connection is noticed earlier, by ssh itself */
const LIMITS = { hello: 90, waiting: 180, unlocked: 420, list: 900, stalled: 900, locked: 180 }

const MOST_LINES = 5_000_000

const REASONS: Readonly<
  Record<string, { readonly code: ErrorCode; readonly message: string; readonly hint: string }>
> = {
  busy: {
    code: 'busy',
    message: 'the box is busy with another session',
    hint: 'an interrupted one ends by itself within two minutes',
  },
  key: {
    code: 'key-rejected',
    message: 'the disk was not unlocked',
    hint: 'is geli.key in the key folder the key of this disk?',
  },
  disk: { code: 'disk', message: 'the box’s disk cannot be used', hint: 'is it plugged in and powered?' },
  pool: {
    code: 'disk',
    message: 'the pool on the box’s disk cannot be used',
    hint: 'knox prepare-disk makes one',
  },
  receive: {
    code: 'receive-failed',
    message: 'zfs receive failed on the box',
    hint: 'what arrived before is kept; the next run goes on from there',
  },
  space: {
    code: 'no-space',
    message: 'the box’s disk is full',
    hint: 'a larger disk, or fewer datasets (home.exclude in knox.yaml)',
  },
  refused: {
    code: 'receive-failed',
    message: 'the box refuses',
    hint: 'home and box see it differently: run it again',
  },
  usage: {
    code: 'failed',
    message: 'the box does not understand this knox',
    hint: 'is its knox-zfs-receive.sh of another version?',
  },
  lock: {
    code: 'left-unlocked',
    message: 'the box could not lock its disk',
    hint: 'switch the box off and on again: the key is then gone from its memory',
  },
}

/** The error that a line `failed REASON TEXT` of the box means. */
const failureOfLine = (line: string): KnoxError | undefined => {
  const match = /^failed ([a-z]+) ?(.*)$/.exec(line)
  if (match === null) return undefined
  const [, reason = '', text = ''] = match
  const known = REASONS[reason] ?? {
    code: 'failed' as const,
    message: `the box failed (${reason})`,
    hint: '',
  }
  const evidence = text === '' ? '' : `: ${printable(text).slice(0, 400)}`
  return new KnoxError(known.code, `${known.message}${evidence}`, known.hint === '' ? [] : [known.hint])
}

const lost = (what: string): KnoxError =>
  new KnoxError('connection-lost', `the connection to the box broke ${what}`, [
    'the box locks its disk by itself; run it again, it goes on from what arrived',
  ])

const withHint = (error: KnoxError, hint: string): KnoxError =>
  new KnoxError(error.code, error.message, [...error.hints, hint], { cause: error.cause })

/** Starts the protocol on an open channel: resolves when the box has said hello. Throws what ssh said if it did not. */
export const startSession = async (channel: Channel, boxName: string): Promise<Session> => {
  /** the next line; with a limit in seconds the channel is killed if none comes in time */
  const next = async (what: string, limit?: number): Promise<string> => {
    const late = new AbortController()
    const timer = limit === undefined ? undefined : setTimeout(() => late.abort(), limit * 1000)
    late.signal.addEventListener('abort', () => channel.kill())
    const line = await channel.readLine().finally(() => clearTimeout(timer))
    if (line !== undefined) return line
    if (late.signal.aborted)
      throw new KnoxError('connection-lost', `the box did not answer for ${String(limit)} s ${what}`)
    throw lost(what)
  }
  const expect = async (limit: number, what: string, pattern: RegExp): Promise<RegExpExecArray> => {
    const line = await next(what, limit)
    const match = pattern.exec(line)
    if (match !== null) return match
    throw (
      failureOfLine(line) ??
      new KnoxError(
        'verification',
        `the box said something unexpected ${what}: ${printable(line).slice(0, 200)}`,
      )
    )
  }

  const greet = async (): Promise<DiskState> => {
    try {
      const [, version, name, disk] = await expect(
        LIMITS.hello,
        'before it said hello',
        /^knox ([0-9]+) (\S+) (\S+)$/,
      )
      if (version !== '1')
        throw new KnoxError(
          'platform',
          `the box speaks version ${version ?? ''} of the protocol, this knox version 1`,
        )
      if (name !== boxName)
        throw new KnoxError(
          'key-rejected',
          `this is the box ${JSON.stringify(name)}, not ${JSON.stringify(boxName)}`,
        )
      return disk === 'locked' || disk === 'unlocked' ? disk : 'missing'
    } catch (error) {
      channel.end()
      if (!(error instanceof KnoxError) || error.code !== 'connection-lost') throw error
      channel.kill()
      throw sshFailure(await channel.ended)
    }
  }

  const disk = await greet()
  const command = (...words: readonly string[]) => channel.writeLine(words.join('\t'))

  const receive: Session['receive'] = async (kind, dataset, send, onProgress) => {
    await command('receive', kind, dataset)
    await expect(LIMITS.waiting, `before it took ${dataset}`, /^ready$/)
    const progress = trackProgress(onProgress)
    const feed = channel.feed(send, progress.read)
    const watch = setInterval(() => {
      if (progress.idleSeconds() > LIMITS.stalled) channel.kill()
    }, 5000)
    try {
      const verdict = next(`while it received ${dataset}`)
      verdict.catch(() => undefined)
      const sent = await Promise.race([verdict.then(() => undefined), feed.ended])
      // a verdict before the end of the stream is a refusal, or the end of the connection
      if (sent !== undefined) {
        if (isPipeEnd(sent)) channel.end()
        else if (sent.exitCode !== 0) throw sendFailure(sent, dataset)
        progress.restart()
      }
      return guidOf(await verdict, dataset)
    } finally {
      clearInterval(watch)
      feed.kill()
      await feed.ended
    }
  }

  return {
    disk,
    unlock: async (sendKey) => {
      await command('unlock')
      await expect(LIMITS.waiting, 'before it waited for the key', /^waiting$/)
      const key = sendKey()
      key.catch(() => undefined)
      try {
        await expect(LIMITS.unlocked, 'while it unlocked the disk', /^unlocked$/)
      } catch (error) {
        const sent = await key
        // a key connection that failed by itself explains why no key came
        if (sent.exitCode === 255 && error instanceof KnoxError && error.code === 'key-rejected')
          throw failureOf(sent, SSH_FAILURES)
        throw error
      }
      await key
    },
    list: async () => {
      await command('list')
      const lines: string[] = []
      for (;;) {
        const line = await next('while it listed its datasets', LIMITS.list)
        if (line === 'end') return parseBoxInventory(lines)
        if (!line.includes('\t')) throw failureOfLine(line) ?? lost('while it listed its datasets')
        if (lines.length > MOST_LINES) throw new KnoxError('verification', 'the box’s list has no end')
        lines.push(line)
      }
    },
    receive,
    place: async (dataset) => {
      await command('place', dataset)
      await expect(LIMITS.waiting, `while it made a place for ${dataset}`, /^ok$/)
    },
    rename: async (from, to) => {
      await command('rename', from, to)
      await expect(LIMITS.waiting, `while it renamed ${from}`, /^ok$/)
    },
    bye: async () => {
      await command('bye')
      channel.end()
      await expect(LIMITS.locked, 'before it said that its disk is locked', /^locked$/)
      const end = await channel.ended
      if (end.exitCode !== 0)
        throw new KnoxError(
          'verification',
          `the box said locked, but its script ended with ${String(end.exitCode)}`,
        )
    },
    abandon: async (cause) => {
      channel.end()
      let end: unknown = cause
      const limit = setTimeout(() => channel.kill(), LIMITS.locked * 1000)
      for (let line = await channel.readLine(); line !== undefined; line = await channel.readLine()) {
        const failure = failureOfLine(line)
        if (failure?.code === 'left-unlocked') return failure
        // the box's own reason says more than what home saw of it
        if (failure !== undefined && end instanceof KnoxError && end.code === 'connection-lost') end = failure
        if (line === 'locked' && end instanceof KnoxError) end = withHint(end, 'the box has locked its disk')
      }
      clearTimeout(limit)
      const { stderr } = await channel.ended
      const said = printable(stderr.trim())
      return end instanceof KnoxError && end.code === 'connection-lost' && said !== ''
        ? withHint(end, `ssh said: ${said.slice(0, 400)}`)
        : end
    },
  }
}

const sshFailure = (end: Result): KnoxError => {
  const error = failureOf(end, SSH_FAILURES)
  return error.code === 'failed' && end.exitCode === 255
    ? new KnoxError('unreachable', error.message, error.hints)
    : error
}

const isPipeEnd = (sent: Result): boolean =>
  sent.signal === 'SIGPIPE' || /Broken pipe|EPIPE/i.test(sent.stderr)

const sendFailure = (sent: Result, dataset: string): KnoxError => {
  const reason = sent.stderr
    .split('\n')
    .filter((line) => line !== '' && !line.includes('\t'))
    .join(' / ')
  const how = sent.signal ?? `exit ${String(sent.exitCode)}`
  return new KnoxError('send-failed', `zfs send failed at home for ${dataset} (${how})`, [
    ...(reason === '' ? [] : [`it said: ${printable(reason).slice(0, 400)}`]),
    'what arrived before is kept; the next run goes on from there',
  ])
}

const guidOf = (line: string, dataset: string): string => {
  const guid = /^ok ([0-9]{1,20})$/.exec(line)?.[1]
  if (guid !== undefined) return guid
  throw (
    failureOfLine(line) ??
    new KnoxError(
      'verification',
      `the box said something unexpected about ${dataset}: ${printable(line).slice(0, 200)}`,
    )
  )
}

/** Sums the bytes of a stream from zfs send's stderr, which counts anew for every snapshot. */
const trackProgress = (onProgress: (progress: StreamProgress) => void) => {
  let done = 0
  let current = { snapshot: '', bytes: 0 }
  let changed = Date.now()
  return {
    read: (text: string) => {
      const progress = parseProgress(text)
      if (progress === undefined) return
      if (progress.snapshot !== current.snapshot) done += current.bytes
      if (progress.snapshot !== current.snapshot || progress.bytes !== current.bytes) changed = Date.now()
      current = progress
      onProgress({ bytes: done + current.bytes })
    },
    restart: () => {
      changed = Date.now()
    },
    idleSeconds: () => (Date.now() - changed) / 1000,
  }
}

const parseBoxInventory = (lines: readonly string[]): BoxInventory => {
  const [name, kind, guid, used, available] = lines[0]?.split('\t') ?? []
  if (name === undefined || kind !== 'pool' || guid === undefined)
    throw new KnoxError('verification', 'the box’s list does not begin with its pool')
  return {
    pool: { name, guid, used: Number(used), available: Number(available) },
    datasets: parseInventory(lines.slice(1)),
  }
}
