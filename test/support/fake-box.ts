import { join } from 'node:path'
import { KnoxError } from '../../provision/core/errors.ts'
import type { Result } from '../../provision/system/process.ts'
import { openChannel, type Channel } from '../../provision/system/process.ts'
import { LIMITS, startSession, type Limits, type Session } from '../../provision/runtime/session.ts'

/** A box that follows a script; its words are in fake-box.sh. */
export const fakeBox = (...script: readonly string[]): Channel =>
  openChannel(['sh', join(import.meta.dirname, 'fake-box.sh'), ...script])

/** every limit the same, in seconds */
export const limitsOf = (seconds: number): Limits =>
  Object.fromEntries(Object.keys(LIMITS).map((name) => [name, seconds])) as unknown as Limits

export const HELLO = 'say knox 1 knox locked'

export const INVENTORY = [
  'say wd|pool|77|1000|2000',
  'say wd|filesystem|1|1',
  'say wd@s|snapshot|2|5',
  'say end',
]

export const key = (exitCode: number | null = 0, stderr = ''): (() => Promise<Result>) => {
  return () => Promise.resolve({ argv: ['ssh', 'knox-fifo'], exitCode, signal: null, stderr })
}

/** a stream of zeros */
export const stream = (bytes: number): readonly string[] => ['head', '-c', String(bytes), '/dev/zero']

export const codeOf = (error: unknown): unknown => (error instanceof KnoxError ? error.code : error)

export const ignore = (): void => undefined

/** Each thing that home asks of the box: the script up to its answer, and the call. */
export interface Point {
  readonly name: string
  readonly before: readonly string[]
  readonly call: (session: Session) => Promise<unknown>
}

export const POINTS: readonly Point[] = [
  { name: 'unlock', before: [HELLO, 'hear unlock'], call: (s) => s.unlock(key()) },
  {
    name: 'the key',
    before: [HELLO, 'hear unlock', 'say waiting'],
    call: (s) => s.unlock(key()),
  },
  { name: 'list', before: [HELLO, 'hear list'], call: (s) => s.list() },
  {
    name: 'the middle of a list',
    before: [HELLO, 'hear list', ...INVENTORY.slice(0, 2)],
    call: (s) => s.list(),
  },
  {
    name: 'receive',
    before: [HELLO, 'hear receive|full|wd/two words'],
    call: (s) => s.receive('full', 'wd/two words', stream(1000), ignore),
  },
  {
    name: 'the end of a stream',
    before: [HELLO, 'hear receive|incremental|wd', 'say ready', 'take 200000'],
    call: (s) => s.receive('incremental', 'wd', stream(200_000), ignore),
  },
  { name: 'place', before: [HELLO, 'hear place|wd/a'], call: (s) => s.place('wd/a') },
  { name: 'rename', before: [HELLO, 'hear rename|wd/a|wd/b'], call: (s) => s.rename('wd/a', 'wd/b') },
  { name: 'bye', before: [HELLO, 'hear bye'], call: (s) => s.bye() },
]

/** Runs a call against a box that follows a script; returns what it throws, and how the box's process ended. */
export const failureAt = async (
  script: readonly string[],
  call: (session: Session) => Promise<unknown>,
  limits: Limits = limitsOf(20),
): Promise<{ readonly error: unknown; readonly final: unknown; readonly end: Result }> => {
  const channel = fakeBox(...script)
  const session = await startSession(channel, 'knox', limits)
  const error = await call(session).then(
    () => {
      throw new Error(`nothing was thrown after ${script.join(', ')}`)
    },
    (thrown: unknown) => thrown,
  )
  const final = await session.abandon(error)
  return { error, final, end: await channel.ended }
}
