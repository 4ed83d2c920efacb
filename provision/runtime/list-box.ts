import type { Config } from '../core/config.ts'
import type { Emit } from '../core/events.ts'
import type { Secret } from '../core/secret.ts'
import { withLock } from '../system/lock.ts'
import { withOpenBox } from './open-box.ts'
import type { BoxInventory } from './session.ts'
import { prepareBox } from './target.ts'

/** All that the box holds, as it lists it now; the disk is unlocked for that and locked again. */
export const listBox = async (config: Config, passphrase: Secret, emit: Emit): Promise<BoxInventory> => {
  const box = await prepareBox(config)
  return withLock(box.folder, () =>
    withOpenBox(box, passphrase, emit, ({ inventory }) => Promise.resolve(inventory)),
  )
}
