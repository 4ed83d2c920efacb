import { KnoxError, messageOf } from '../core/errors.ts'
import type { Change, Runner } from '../core/command.ts'
import type { Emit, Event } from '../core/events.ts'
import { quoteAll } from '../core/quote.ts'
import {
  inheritProperty,
  listMountPlaces,
  listOverridden,
  setProperty,
  type Overridden,
} from '../tools/zfs-receive.ts'
import { takenPlaces } from './taken-places.ts'

/** What the box sets for itself on what it receives: zfs then sends these, and not what home had. */

const INHERITED = ['readonly', 'compression', 'dedup']

/** zfs can let nobody inherit these; a limit that home never had is none, as the box has it */
const SINGLE = ['canmount', 'quota', 'refquota', 'reservation', 'refreservation']

/** All that the box sets. */
export const OVERRIDDEN: readonly string[] = [...INHERITED, ...SINGLE]

const change = ({ property, received }: Overridden, here: string): Change | undefined => {
  if (received !== undefined) return setProperty(here, property, received)
  if (INHERITED.includes(property)) return inheritProperty(here, property)
  return property === 'canmount' ? setProperty(here, property, 'on') : undefined
}

const SHOWN = 5

const notMounted = (covering: readonly (readonly [copy: string, original: string])[]): Event => ({
  type: 'warning',
  text:
    'not mounted by themselves, since they would be mounted over others here: ' +
    covering
      .slice(0, SHOWN)
      .map(([copy, original]) => `${copy} over ${original}`)
      .join(', ') +
    (covering.length > SHOWN ? ` and ${covering.length - SHOWN} more` : ''),
  hint: 'give each another place (zfs set mountpoint=...), or export the pool of the others; then zfs set canmount=on',
})

/**
 * Brings back what home had set and the box has overridden, on those datasets below `target` that `names` has. One that would be
 * mounted over another at home stays as the box had it, `canmount=noauto`, and is told.
 * Throws `partial` if some could not be set, such as a reservation that is larger than the pool; all others are.
 */
export const bringSettings = async (
  box: Runner,
  home: Runner,
  { source, target }: { readonly source: string; readonly target: string },
  names: ReadonlySet<string>,
  emit: Emit,
): Promise<void> => {
  const failed: string[] = []
  const covering: [string, string][] = []
  const taken = takenPlaces(await home.read(listMountPlaces), target)
  for (const one of await box.read(listOverridden(source, OVERRIDDEN))) {
    const here = target + one.dataset.slice(source.length)
    const command = names.has(here) ? change(one, here) : undefined
    if (command === undefined) continue
    const covered = one.property === 'canmount' && one.received !== 'off' ? taken.get(here) : undefined
    if (covered !== undefined) {
      covering.push([here, covered])
      continue
    }
    await home.act(command).catch((error: unknown) => {
      const hints = error instanceof KnoxError ? error.hints : []
      failed.push(`${quoteAll(command.argv)}: ${[messageOf(error), ...hints].join('; ')}`)
    })
  }
  if (covering.length > 0) emit(notMounted(covering))
  if (failed.length > 0)
    throw new KnoxError(
      'partial',
      `all snapshots are in ${target}, but ${failed.length} settings are not as they were`,
      failed,
    )
}
