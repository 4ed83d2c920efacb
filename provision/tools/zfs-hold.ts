import type { Change, StderrRule } from '../core/command.ts'

/** zfs-hold(8), zfs-release(8) and the destroy of snapshots; as on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure. */

/** names in one command: one after the other, zfs waits for the disk for each */
const MOST_NAMES = 40

const DENIED: StderrRule = {
  pattern: /permission denied/,
  code: 'platform',
  message: 'zfs does not let this user hold snapshots',
  hints: ['once, as root: zfs allow -u USER send,diff,snapshot,mount,hold,release POOL'],
}

/** `busy`: done already for some, or some are gone; all others were done. Every line says so, lest it hides another failure. */
const PARTLY: StderrRule = {
  pattern: /^(?:[^\n]*(?:tag already exists|no such tag|does not exist)[^\n]*(?:\n|$))+$/,
  code: 'busy',
  message: 'some snapshots have it already, or are gone',
}

const groups = (names: readonly string[], most: number): readonly (readonly string[])[] =>
  Array.from({ length: Math.ceil(names.length / most) }, (_, n) => names.slice(n * most, (n + 1) * most))

/** Holds snapshots (`dataset@name`): they cannot be destroyed. */
export const hold = (tag: string, snapshots: readonly string[]): readonly Change[] =>
  groups(snapshots, MOST_NAMES).map((names) => ({
    effect: 'change',
    argv: ['zfs', 'hold', tag, ...names],
    failures: [DENIED, PARTLY],
  }))

/** Takes the hold of this tag away, where there is one. */
export const release = (tag: string, snapshots: readonly string[]): readonly Change[] =>
  groups(snapshots, MOST_NAMES).map((names) => ({
    effect: 'change',
    argv: ['zfs', 'release', tag, ...names],
    failures: [DENIED, PARTLY],
  }))

const MOST_DESTROYED = 100

/** Destroys snapshots of one dataset; zfs itself refuses those that are held or have clones, and then all of the group. */
export const destroySnapshots = (dataset: string, names: readonly string[]): readonly Change[] =>
  groups(names, MOST_DESTROYED).map((some) => ({
    effect: 'change',
    argv: ['zfs', 'destroy', `${dataset}@${some.join(',')}`],
    failures: [
      {
        pattern: /could not find any snapshots|dataset does not exist/,
        code: 'busy',
        message: 'the snapshots are gone already',
      },
      {
        pattern: /permission denied/,
        code: 'platform',
        message: 'zfs does not let this user destroy snapshots',
        hints: ['once, as root: zfs allow -u USER destroy,mount POOL'],
      },
    ],
  }))
