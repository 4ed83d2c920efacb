import { KnoxError } from '../core/errors.ts'
import { formatBytes } from '../core/sizes.ts'
import type { Dataset } from '../tools/zfs.ts'
import type { Receipt } from './receipt.ts'
import type { BoxInventory } from './session.ts'

/** What a run does not do by itself, because a mistake or a thief could be behind it; the flag is `--accept-` and the word. */
export const CONSENTS = {
  'new-pool': 'go on although the box has another pool or disk than at the last proof',
  'new-home': 'go on although home’s pool is another one than at the last proof',
  divergence: 'keep the box’s copy of what has gone another way under another name, and send it anew',
  deletions: 'let the box forget what is gone at home, also many snapshots and whole datasets',
  'full-disk': 'send although the box seems to have too little room',
} as const

export type Consent = keyof typeof CONSENTS

/** Throws `diverged` if the box has another pool, or its pool another disk, than at the last proof. */
export const checkBox = (
  receipt: Receipt | undefined,
  { pool }: BoxInventory,
  accept: ReadonlySet<Consent>,
): void => {
  if (receipt === undefined || accept.has('new-pool')) return
  const before = receipt.pool
  if (before.guid !== pool.guid)
    throw new KnoxError('diverged', `the pool ${pool.name} on the box is not the one of the last proof`, [
      `guid ${pool.guid} now, ${before.guid} on ${receipt.provedAt}`,
      'is it a new disk? --accept-new-pool goes on with it',
    ])
  // a disk, or the bridge that it hangs on, may tell no name
  if (before.disk !== '' && pool.disk !== '' && before.disk !== pool.disk)
    throw new KnoxError(
      'diverged',
      `the pool ${pool.name} on the box is on another disk than at the last proof`,
      [
        `serial ${pool.disk} now, ${before.disk} on ${receipt.provedAt}`,
        'is it a copy, or in another case? --accept-new-pool goes on with it',
      ],
    )
}

/** Throws `diverged` if home’s pool is another one of the same name. `home` begins with the pool’s own dataset. */
export const checkHome = (
  receipt: Receipt | undefined,
  [root]: readonly Dataset[],
  accept: ReadonlySet<Consent>,
): void => {
  if (receipt?.home === undefined || root === undefined || accept.has('new-home')) return
  if (receipt.home === root.guid) return
  throw new KnoxError('diverged', `the pool ${root.name} at home is not the one of the last proof`, [
    `guid ${root.guid} now, ${receipt.home} on ${receipt.provedAt}`,
    'was it made anew and restored? --accept-new-home goes on with it; what the box has is not touched',
  ])
}

/**
 * Throws `diverged` if datasets would come to lie below a pool on the box that has no snapshot. The box takes no whole stream onto
 * what has snapshots below it, lest one of them be lost, and the pool's own dataset cannot be moved aside.
 */
export const checkRoot = (
  { name, snapshots }: Dataset,
  { pool, datasets }: BoxInventory,
  streams: number,
): void => {
  const there = datasets.find((dataset) => dataset.name === pool.name)
  if (streams === 0 || snapshots.length > 0 || there === undefined || there.snapshots.length > 0) return
  throw new KnoxError(
    'diverged',
    `the pool ${name} has no snapshot of its own, which must be the box’s first`,
    ['nothing was sent; knox snapshot takes one of the pool and of every dataset'],
  )
}

/** Throws `no-space` if the estimated bytes of all streams are more than the box has; undefined where zfs does not say. */
export const checkRoom = (
  bytes: number | undefined,
  { pool }: BoxInventory,
  accept: ReadonlySet<Consent>,
): void => {
  if (bytes === undefined || bytes <= pool.available || accept.has('full-disk')) return
  throw new KnoxError(
    'no-space',
    `the box has room for ${formatBytes(pool.available)}, and ${formatBytes(bytes)} are to be sent`,
    [
      'nothing was sent; a larger disk, or fewer datasets (home.exclude in knox.yaml)',
      'does it compress well? --accept-full-disk tries',
    ],
  )
}
