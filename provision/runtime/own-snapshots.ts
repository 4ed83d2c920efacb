import { KnoxError } from '../core/errors.ts'
import { quoteAll } from '../core/quote.ts'
import type { Dataset } from '../tools/zfs.ts'

/** Snapshots at home in the way of a restore: zfs receive goes on only behind the newest one, and takes no name a second time. Pure. */

const SHOWN = 10

export interface OwnSnapshot {
  /** `dataset@name` at home */
  readonly name: string
  readonly held: boolean
}

/**
 * Of each dataset at home that the box has as well: the snapshots that the box does not have, if they are newer than the newest
 * common one or have the name of one that is still to come. `nameAtHome` is where a dataset of the box belongs.
 */
export const ownSnapshots = (
  box: readonly Dataset[],
  home: readonly Dataset[],
  nameAtHome: (name: string) => string,
): readonly OwnSnapshot[] => {
  const there = new Map(home.map((dataset) => [dataset.name, dataset.snapshots]))
  return box.flatMap(({ name, snapshots: theirs }) => {
    const target = nameAtHome(name)
    const ours = there.get(target) ?? []
    const known = new Set(theirs.map(({ guid }) => guid))
    const common = ours.findLastIndex(({ guid }) => known.has(guid))
    const last = theirs.findIndex(({ guid }) => guid === ours[common]?.guid)
    const coming = new Set(theirs.slice(last + 1).map((one) => one.name))
    return ours
      .filter((one, index) => !known.has(one.guid) && (index > common || coming.has(one.name)))
      .map((one) => ({ name: `${target}@${one.name}`, held: one.held === true }))
  })
}

/** What a restore is refused with that finds such snapshots; knox itself destroys none. */
export const inTheWay = (own: readonly OwnSnapshot[], source: string, target: string): KnoxError => {
  const held = own.find((one) => one.held)
  const what = `${target} holds something else than the box’s ${source}: snapshots that the box does not have`
  return new KnoxError('refused', what, [
    'nothing was changed; choose another --to, or destroy them, if they may be lost, and run it again:',
    ...own.slice(0, SHOWN).map(({ name }) => quoteAll(['zfs', 'destroy', name])),
    ...(own.length > SHOWN
      ? [`and ${own.length - SHOWN} more: ${quoteAll(['zfs', 'list', '-r', '-t', 'snapshot', target])}`]
      : []),
    ...(held === undefined
      ? []
      : [`one that is held is let go by zfs release TAG: ${quoteAll(['zfs', 'holds', held.name])}`]),
    'what takes them should be stopped until the restore is done',
  ])
}
