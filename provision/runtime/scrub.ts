import { join } from 'node:path'
import * as z from 'zod'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatDuration } from '../core/sizes.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { withLock } from '../system/lock.ts'
import { pause } from '../system/process.ts'
import { parsePoolStatus, type PoolHealth } from '../tools/zpool-status.ts'
import type { Session } from './session.ts'
import { connect, prepareBox } from './target.ts'
import { unlock } from './unlock.ts'

export const scrubSchema = z.strictObject({
  version: z.literal(1),
  /** when it was looked at last, ISO 8601 UTC */
  at: z.iso.datetime(),
  /** when a scrub was last seen to be finished */
  finished: z.iso.datetime().nullable(),
  state: z.string(),
  scrub: z.enum(['none', 'running', 'paused', 'stopped', 'finished']),
  percent: z.number().nullable(),
  errors: z.number(),
  damaged: z.array(z.string()),
})

/** The result of the last `knox scrub`. */
export type ScrubState = z.infer<typeof scrubSchema>

const pathOf = (folder: string): string => join(folder, 'scrub.json')

/** undefined if there was none, or its file cannot be read. */
export const readScrubState = async (folder: string): Promise<ScrubState | undefined> => {
  const text = await readTextIfAny(pathOf(folder))
  try {
    return text === undefined ? undefined : scrubSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** True if the pool was not well when it was looked at last. */
export const isDamaged = ({ state, errors, damaged }: ScrubState): boolean =>
  damaged.length > 0 || errors > 0 || state !== 'ONLINE'

/** seconds between two looks, and how much longer than home the box waits before it locks itself */
const LOOK = 15
const MARGIN = 120

/** Throws `disk` if the time is over and zpool on the box has not answered: that says nothing of damage. */
const follow = async (session: Session, seconds: number, emit: Emit): Promise<PoolHealth> => {
  const until = Date.now() + seconds * 1000
  for (let wait = 1; ; wait = Math.min(LOOK, wait * 2)) {
    const health = parsePoolStatus(await session.health())
    const isOver = Date.now() >= until
    const hasAnswered = health.state !== ''
    if (hasAnswered && (health.scrub !== 'running' || isOver)) return health
    if (isOver)
      throw new KnoxError('disk', 'the box’s pool does not answer: zpool status there said nothing in time', [
        'is its disk very busy, or failing? what the scrub has read counts; knox scrub goes on',
      ])
    const percent = health.percent === undefined ? '' : `, ${health.percent} % done`
    emit({ type: 'step', title: `scrubbing the box’s disk${percent}` })
    await pause(Math.min(wait, Math.max(1, (until - Date.now()) / 1000)))
  }
}

/**
 * Reads the box's whole disk and compares it with its checksums, for so many seconds at the most; the rest is for the next time. The box
 * locks itself when the time is over, whatever becomes of home. Throws `verification` if something on the disk is damaged, `disk` if the
 * box's pool does not answer.
 */
export const scrub = async (config: Config, seconds: number, emit: Emit): Promise<ScrubState> => {
  const box = await prepareBox(config)
  return withLock(box.folder, async () => {
    const before = await readScrubState(box.folder)
    const connection = await connect(box, emit)
    const { session } = connection
    try {
      await unlock(connection, emit)
      await session.scrub(Math.min(seconds + MARGIN, 99_999))
      const health = await follow(session, seconds, emit)
      emit({ type: 'step', title: 'locking the disk' })
      await session.bye()
      const at = new Date().toISOString()
      const isOver = health.scrub === 'finished'
      const state: ScrubState = {
        ...{ version: 1, at, state: health.state, scrub: isOver ? 'finished' : 'paused' },
        finished: isOver ? at : (before?.finished ?? null),
        ...{ percent: health.percent ?? null, errors: health.errors, damaged: [...health.damaged] },
      }
      await writeFileAtomic(pathOf(box.folder), `${JSON.stringify(state, null, 1)}\n`, { replace: true })
      emit({
        type: 'done',
        title: isOver ? 'the scrub is finished' : `after ${formatDuration(seconds)} the disk is locked`,
      })
      if (isDamaged(state))
        throw new KnoxError(
          'verification',
          `the box’s disk is damaged: its pool is ${health.state}, ${health.errors} errors`,
          [
            ...health.damaged.slice(0, 10),
            'is it a failing disk? prepare another one while this one still answers',
          ],
        )
      return state
    } catch (error) {
      throw await session.abandon(error)
    }
  })
}
