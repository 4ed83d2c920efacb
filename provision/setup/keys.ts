import { join } from 'node:path'
import { KEY_FILES } from '../core/keys.ts'
import { lastKeysBackup } from '../keys/key-folder.ts'
import { homeFolder } from '../system/config-file.ts'
import { exists } from '../system/files.ts'
import { problemOfNewFile, typedPath } from './files.ts'
import { configNow, type Step } from './step.ts'

/** Everything that says who is who: made at home, before the box exists. */
export const keys: Step = {
  title: 'keys',
  plan: 'knox keys init',
  look: async (world) => {
    const folder = homeFolder(await configNow(world))
    return (await exists(join(folder, `${KEY_FILES.hostKey}.pub`))) ? folder : undefined
  },
  act: ({ owner, emit }) => {
    emit({
      type: 'note',
      text: 'new keys, for a new box: if there is a copy of the keys of a box that exists, stop here (Ctrl-C) and bring it back by knox keys restore FILE',
    })
    return owner.run(['keys', 'init'])
  },
}

/** The setup is not finished before the copy was opened once. */
export const keysBackup: Step = {
  title: 'copy of the keys',
  plan: 'knox keys backup FILE, on a USB stick for instance',
  look: async (world) => {
    const last = await lastKeysBackup(homeFolder(await configNow(world)))
    return last === undefined ? undefined : `${last.file}, opened once as a test on ${last.madeAt}`
  },
  act: async ({ owner, emit }) => {
    emit({ type: 'note', text: 'the keys must not be lost with this house' })
    const file = await owner.ask({
      question: 'a file on a USB stick for an encrypted copy of the keys?',
      flag: 'keys-backup',
      problem: problemOfNewFile,
    })
    await owner.run(['keys', 'backup', typedPath(file)])
  },
}
