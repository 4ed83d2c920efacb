import type { Reader } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { quote } from '../core/quote.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import type { Dataset } from '../tools/zfs.ts'
import { readToken, type ResumePoint } from '../tools/zfs-send.ts'
import type { PartialReceive } from './plan.ts'
import type { BoxInventory, Session } from './session.ts'

export interface Partials {
  /** by the box's names */
  readonly partials: ReadonlyMap<string, PartialReceive>
  /** the box's list, taken anew if something was discarded */
  readonly before: BoxInventory
}

/**
 * What a token stands for; undefined if zfs says that nothing can go on from it. Throws where zfs only does not say: weeks of a first
 * stream may hang on it, and are not thrown away for that. `where` the owner could discard it.
 */
export const pointOf = async (
  runner: Reader,
  name: string,
  token: string,
  where: string,
): Promise<ResumePoint | undefined> => {
  try {
    const point = await runner.read(readToken(token))
    if (point === undefined) throw new KnoxError('failed', 'zfs does not say what it is of')
    return point
  } catch (error) {
    if (!(error instanceof KnoxError)) throw error
    if (error.code === 'diverged') return undefined
    throw new KnoxError(
      error.code,
      `what has begun to arrive in ${name} could not be read: ${error.message}`,
      [
        ...error.hints,
        `nothing was discarded; if it is so in every run, as root ${where}: zfs receive -A ${quote(name)}`,
      ],
    )
  }
}

/**
 * What can be gone on with: each token of the box is read by home's zfs and must stand for a snapshot that home still has
 * in one of its own datasets, so that a box cannot ask for another. Those of which zfs says that nothing can go on from them are discarded
 * on the box: only what never became a snapshot goes. Throws if zfs does not say it, for whatever reason.
 */
export const findPartials = async (
  session: Session,
  found: BoxInventory,
  home: readonly Dataset[],
  emit: Emit,
): Promise<Partials> => {
  const runner = runnerAt(HERE, emit)
  const guids = new Map(
    home.flatMap(({ name, snapshots }) => snapshots.map((one) => [`${name}@${one.name}`, one.guid])),
  )
  const partials = new Map<string, PartialReceive>()
  let discarded = 0
  for (const { name, resumeToken: token } of found.datasets) {
    if (token === undefined) continue
    const point = await pointOf(runner, name, token, 'on the box, its disk unlocked')
    if (point !== undefined && guids.get(point.snapshot) === point.guid) {
      partials.set(name, { token, guid: point.guid, bytes: point.bytes })
    } else {
      emit({
        type: 'note',
        text: `what had begun to arrive in ${name} is no longer at home: it is discarded`,
      })
      await session.discard(name)
      discarded += 1
    }
  }
  return { partials, before: discarded === 0 ? found : await session.list() }
}
