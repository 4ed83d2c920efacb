import { disk, firstBackup, schedule, snapshot } from './backup.ts'
import { box } from './box.ts'
import { configuration } from './configuration.ts'
import { delegation } from './delegation.ts'
import { keys, keysBackup } from './keys.ts'
import { placement } from './placement.ts'
import type { Step } from './step.ts'

/** The road of `knox setup`, in its order. */
export const ROAD: readonly Step[] = [
  ...[configuration, delegation, keys, box, disk, snapshot, firstBackup],
  ...[keysBackup, schedule, placement],
]
