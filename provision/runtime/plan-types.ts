import type { SendRange } from '../tools/zfs-send.ts'
import type { Snapshot } from '../tools/zfs.ts'

/** What a plan of a run is made of. */

export type Send = {
  readonly step: 'send'
  /** the name on the box */
  readonly dataset: string
  readonly range: SendRange
} & (
  | { readonly kind: 'full' | 'incremental' }
  /** the rest of a stream that was interrupted */
  | { readonly kind: 'resume'; readonly token: string; readonly bytes: number | undefined }
)

/** A stream that a dataset of the box has begun to receive, and that home can go on with. */
export interface PartialReceive {
  readonly token: string
  /** of the snapshot that it brings */
  readonly guid: string
  /** still to come, estimated */
  readonly bytes: number | undefined
}

export type Step =
  | Send
  | { readonly step: 'rename'; readonly from: string; readonly to: string }
  | { readonly step: 'place'; readonly dataset: string }

/** What the box must list at the end for one of home's datasets. */
export interface Goal {
  readonly home: string
  readonly dataset: string
  readonly newest: Snapshot
  /** guids that this run delivers, the newest included */
  readonly guids: readonly string[]
}

export interface Problem {
  readonly dataset: string
  readonly kind: 'no-snapshot' | 'diverged' | 'deletion' | 'damage'
  readonly message: string
  readonly hint: string
}

export interface Plan {
  readonly steps: readonly Step[]
  readonly goals: readonly Goal[]
  readonly problems: readonly Problem[]
  /** guids of the box's datasets that are moved aside, since they or those above them have gone another way */
  readonly kept: readonly string[]
}

export interface Pools {
  readonly home: string
  readonly box: string
}
