import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'
import type { Channel, Result } from '../system/process.ts'
import { parseInventory, type Dataset } from '../tools/zfs.ts'
import {
  blame,
  failureOfLine,
  guidIn,
  isLost,
  keyFailure,
  lost,
  noHello,
  sendFailure,
  silent,
  unexpected,
} from './session-failures.ts'
import { trackProgress, type StreamProgress } from './stream-progress.ts'

/** Home's side of the protocol in docs/session.md: one connection, lines both ways, streams in between. */

export type DiskState = 'locked' | 'unlocked' | 'missing'

export interface BoxInventory {
  readonly pool: {
    readonly name: string
    readonly guid: string
    readonly used: number
    readonly available: number
    /** what the disk calls itself; empty if it does not */
    readonly disk: string
    /** what ZFS says of a disk that fails; empty if all is well */
    readonly trouble: string
  }
  readonly datasets: readonly Dataset[]
}

/** resume: the rest of a stream that was interrupted */
export type ReceiveKind = 'full' | 'incremental' | 'resume'

export interface Session {
  readonly disk: DiskState
  /** Unlocks the disk: `sendKey` opens the second connection and is called when the box waits for the key. */
  unlock(sendKey: () => Promise<Result>): Promise<void>
  list(): Promise<BoxInventory>
  /** Sends one stream into a dataset of the box; returns the guid of the newest snapshot there. */
  receive(
    kind: ReceiveKind,
    dataset: string,
    send: readonly string[],
    onProgress: (progress: StreamProgress) => void,
  ): Promise<string>
  place(dataset: string): Promise<void>
  /** Discards what has begun to arrive in a dataset and never became a snapshot. */
  discard(dataset: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Destroys snapshots of one dataset, all of them or none; the box refuses its anchors, the newest, and too many in a day. */
  destroy(dataset: string, snapshots: readonly string[]): Promise<void>
  /** Mounts a snapshot on the box, for `hash`. */
  look(dataset: string, snapshot: string): Promise<void>
  /** SHA-256 of a file of that snapshot in hex, or `missing`, or `unreadable`. `path` as `wirePath` writes it. */
  hash(path: string, bytes: number): Promise<string>
  /** Starts a scrub, or goes on with it; after so many seconds the box locks itself, whatever home does. */
  scrub(seconds: number): Promise<void>
  /** What `zpool status` says on the box. */
  health(): Promise<readonly string[]>
  /** Says that home is still there, so that the box does not end the session. */
  stay(): Promise<void>
  /** Ends the session; resolves only if the box says that its disk is locked. */
  bye(): Promise<void>
  /** Ends a session that has failed: returns the error to report, which is `left-unlocked` if the box says so. */
  abandon(cause: unknown): Promise<unknown>
}

/** seconds within which the box must answer; a dead connection is noticed earlier, by ssh itself */
export const LIMITS = {
  hello: 90,
  waiting: 180,
  unlocked: 420,
  list: 900,
  destroy: 600,
  /** and a second for each of so many bytes: what the slowest box reads */
  hash: 300,
  stalled: 900,
  /** and so much more once all is sent for each snapshot of a stream: thousands of small ones fit into ssh's buffers */
  snapshot: 10,
  /** the box's anchors take up to 300 s of it */
  locked: 420,
  /** between the box's last word and the end of the connection */
  closing: 20,
}
export type Limits = typeof LIMITS

const MOST_LINES = 5_000_000

/** bytes a second that the slowest box is expected to read and digest */
export const SLOWEST_DIGEST = 500_000

const withHint = (error: KnoxError, hint: string): KnoxError =>
  new KnoxError(error.code, error.message, [...error.hints, hint], { cause: error.cause })

/**
 * Starts the protocol on an open channel: resolves when the box has said hello. Throws what ssh said if it did not.
 * Whatever the box does or leaves undone, nothing here waits longer than `limits`.
 */
export const startSession = async (
  channel: Channel,
  boxName: string,
  limits: Limits = LIMITS,
): Promise<Session> => {
  /** the next line; with a limit in seconds the channel is killed if none comes in time */
  const next = async (what: string, limit?: number): Promise<string> => {
    const late = new AbortController()
    late.signal.addEventListener('abort', () => channel.kill())
    const timer = limit === undefined ? undefined : setTimeout(() => late.abort(), limit * 1000)
    const line = await channel.readLine().finally(() => clearTimeout(timer))
    if (line !== undefined) return line
    throw late.signal.aborted && limit !== undefined ? silent(limit, what) : lost(what)
  }
  const expect = async (limit: number, what: string, pattern: RegExp): Promise<RegExpExecArray> => {
    const line = await next(what, limit)
    const match = pattern.exec(line)
    if (match !== null) return match
    throw failureOfLine(line) ?? unexpected(line, what)
  }
  /** the peer's end, after it was told that no more comes; it is killed if it takes longer than `limit` seconds */
  const ending = (limit: number): Promise<Result> => {
    channel.end()
    const timer = setTimeout(() => channel.kill(), limit * 1000)
    return channel.ended.finally(() => clearTimeout(timer))
  }

  const greet = async (): Promise<DiskState> => {
    try {
      const [, version, name, disk] = await expect(
        limits.hello,
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
          `this is the box ${JSON.stringify(printable(name ?? ''))}, not ${JSON.stringify(boxName)}`,
        )
      return disk === 'locked' || disk === 'unlocked' ? disk : 'missing'
    } catch (error) {
      const end = await ending(limits.closing)
      throw error instanceof KnoxError && error.code === 'connection-lost' ? noHello(end, error) : error
    }
  }

  const disk = await greet()
  // not waited for: a box that reads nothing must not hold up the limit of its answer
  const command = (...words: readonly string[]) => void channel.writeLine(words.join('\t'))

  const receive: Session['receive'] = async (kind, dataset, send, onProgress) => {
    const what = `while it received ${dataset}`
    command('receive', kind, dataset)
    await expect(limits.waiting, `before it took ${dataset}`, /^ready$/)
    const progress = trackProgress(onProgress)
    let patience = limits.stalled
    let stalled: KnoxError | undefined
    const look = () => {
      if (stalled !== undefined || progress.idleSeconds() <= patience) return
      stalled = silent(patience, what)
      channel.kill()
    }
    const feed = channel.feed(send, progress.read)
    const watch = setInterval(look, Math.min(5000, limits.stalled * 250))
    /** the guid of the newest snapshot, or why there is none */
    const verdict: Promise<string | KnoxError> = next(what).then(
      (line) => guidIn(line) ?? failureOfLine(line) ?? unexpected(line, what),
      () => stalled ?? lost(what),
    )
    try {
      const early = await Promise.race([verdict, feed.ended])
      // a refusal, or the end of the connection: what is left of the stream is for nobody
      if (early instanceof KnoxError) throw early
      const sent = await feed.ended
      progress.restart()
      patience += limits.snapshot * progress.snapshots()
      // the box sees the end of what it got, and says what it makes of it
      if (sent.exitCode !== 0) channel.end()
      const end = await verdict
      if (sent.exitCode === 0 && typeof end === 'string') return end
      throw typeof end === 'string' ? sendFailure(sent, dataset) : blame(sent, end, dataset)
    } finally {
      clearInterval(watch)
      feed.kill()
      await feed.ended
    }
  }

  return {
    disk,
    unlock: async (sendKey) => {
      command('unlock')
      await expect(limits.waiting, 'before it waited for the key', /^waiting$/)
      const key = sendKey()
      let answered = false
      let patience: NodeJS.Timeout | undefined
      // where no key was sent none is to be waited for: the box says so soon, or not at all
      const watch = ({ exitCode }: Result) => {
        if (exitCode !== 0 && !answered) patience = setTimeout(() => channel.kill(), limits.closing * 1000)
      }
      key.then(watch, () => undefined)
      try {
        await expect(limits.unlocked, 'while it unlocked the disk', /^unlocked$/)
      } catch (error) {
        throw keyFailure(await key, error)
      } finally {
        answered = true
        clearTimeout(patience)
      }
      await key
    },
    list: async () => {
      const what = 'while it listed its datasets'
      command('list')
      const lines: string[] = []
      for (;;) {
        const line = await next(what, limits.list)
        if (line === 'end') return parseBoxInventory(lines)
        if (!line.includes('\t')) throw failureOfLine(line) ?? unexpected(line, what)
        if (lines.length > MOST_LINES) throw new KnoxError('verification', 'the box’s list has no end')
        lines.push(line)
      }
    },
    receive,
    place: async (dataset) => {
      command('place', dataset)
      await expect(limits.waiting, `while it made a place for ${dataset}`, /^ok$/)
    },
    discard: async (dataset) => {
      command('discard', dataset)
      await expect(limits.waiting, `while it discarded the rest of ${dataset}`, /^ok$/)
    },
    rename: async (from, to) => {
      command('rename', from, to)
      await expect(limits.waiting, `while it renamed ${from}`, /^ok$/)
    },
    destroy: async (dataset, snapshots) => {
      command('destroy', dataset, ...snapshots)
      await expect(limits.destroy, `while it destroyed snapshots of ${dataset}`, /^ok$/)
    },
    look: async (dataset, snapshot) => {
      command('look', dataset, snapshot)
      await expect(limits.waiting, `while it mounted ${dataset}@${snapshot}`, /^ok$/)
    },
    hash: async (path, bytes) => {
      const what = 'while it read a file'
      command('hash', path)
      const line = await next(what, limits.hash + bytes / SLOWEST_DIGEST)
      const failed = /^failed (missing|unreadable) /.exec(line)?.[1]
      if (failed !== undefined) return failed
      const sum = /^ok ([0-9a-f]{64})$/.exec(line)?.[1]
      if (sum === undefined) throw failureOfLine(line) ?? unexpected(line, what)
      return sum
    },
    scrub: async (seconds) => {
      command('scrub', seconds.toString())
      // zpool waits for the pool, which a slow disk already keeps busy with the scrub
      await expect(limits.list, 'before it began to scrub', /^ok$/)
    },
    health: async () => {
      const what = 'while it told the state of its pool'
      command('health')
      const lines: string[] = []
      for (;;) {
        const line = await next(what, limits.list)
        if (line === 'end') return lines
        const [, text] = /^health\t(.*)$/.exec(line) ?? []
        if (text === undefined || lines.length > 1000) throw failureOfLine(line) ?? unexpected(line, what)
        lines.push(text)
      }
    },
    stay: async () => {
      command('stay')
      await expect(limits.waiting, 'while it was held open', /^ok$/)
    },
    bye: async () => {
      command('bye')
      channel.end()
      await expect(limits.locked, 'before it said that its disk is locked', /^locked$/)
      const end = await ending(limits.closing)
      if (end.exitCode !== 0)
        throw new KnoxError(
          'verification',
          `the box said locked, but its script ended with ${String(end.exitCode ?? end.signal)}`,
        )
    },
    abandon: async (cause) => {
      const ended = ending(limits.locked)
      let end: unknown = cause
      let locked = false
      for (let line = await channel.readLine(); line !== undefined; line = await channel.readLine()) {
        const failure = failureOfLine(line)
        if (failure?.code === 'left-unlocked') end = failure
        // the box's own reason says more than what home saw of it
        else if (failure !== undefined && isLost(end)) end = failure
        if (line === 'locked') locked = true
      }
      const { stderr } = await ended
      const said = printable(stderr.trim())
      if (!(end instanceof KnoxError) || end.code === 'left-unlocked') return end
      if (locked) return withHint(end, 'the box has locked its disk')
      return isLost(end) && said !== '' ? withHint(end, `ssh said: ${said.slice(0, 400)}`) : end
    },
  }
}

const parseBoxInventory = (lines: readonly string[]): BoxInventory => {
  const match =
    /^([ -~]+)\tpool\t([0-9]{1,20})\t([0-9]{1,20})\t([0-9]{1,20})(?:\t([!-~]{0,80})(?:\t([ -~]{0,300}))?)?$/.exec(
      lines[0] ?? '',
    )
  const [, name, guid, used, available, disk = '', trouble = ''] = match ?? []
  if (name === undefined || guid === undefined)
    throw new KnoxError('verification', 'the box’s list does not begin with its pool')
  return {
    pool: { name, guid, used: Number(used), available: Number(available), disk, trouble },
    datasets: parseInventory(lines.slice(1)),
  }
}
