import type { Config } from '../core/config.ts'
import type { Emit } from '../core/events.ts'
import type { Owner } from '../core/owner.ts'
import { loadConfig } from '../system/config-file.ts'

/** What the steps look at, and whom they ask. */
export interface World {
  readonly owner: Owner
  readonly emit: Emit
  /** what --config names */
  readonly configPath: string | undefined
}

/**
 * One stretch of the road from a card to a proven backup. It is done when the world says so, not when it was walked once:
 * so the wizard can be stopped anywhere and goes on there.
 */
export interface Step {
  readonly title: string
  /** what it will do, for --dry-run */
  readonly plan: string
  /** what shows that it is done; undefined if it is not. Changes nothing. */
  readonly look: (world: World) => Promise<string | undefined>
  /** Resolves with `elsewhere` if the rest of the road is walked by somebody else */
  readonly act: (world: World) => Promise<unknown>
  /** the road goes on without it */
  readonly optional?: boolean
}

/** knox.yaml as it is now; steps may have changed it. */
export const configNow = (world: World): Promise<Config> => loadConfig(world.configPath)
