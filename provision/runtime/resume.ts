import type { Emit } from '../core/events.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import type { Dataset } from '../tools/zfs.ts'
import { readToken } from '../tools/zfs-send.ts'
import type { PartialReceive } from './plan.ts'
import type { BoxInventory, Session } from './session.ts'

export interface Partials {
  /** by the box's names */
  readonly partials: ReadonlyMap<string, PartialReceive>
  /** the box's list, taken anew if something was discarded */
  readonly before: BoxInventory
}

/**
 * What can be gone on with: each token of the box is read by home's zfs and must stand for a snapshot that home still has
 * in one of its own datasets, so that a box cannot ask for another. The others are discarded on the box: only what never became
 * a snapshot goes.
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
    const point = await runner.read(readToken(token)).catch(() => undefined)
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
