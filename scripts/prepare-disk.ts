import { defineCommand } from '../provision/cli/command.ts'
import { quoteAll } from '../provision/core/quote.ts'
import { Secret } from '../provision/core/secret.ts'
import {
  checkDisk,
  describeDisk,
  preparations,
  prepareDisk as prepare,
} from '../provision/runtime/prepare-disk.ts'
import { withShell } from '../provision/runtime/shell.ts'
import { prepareBox } from '../provision/runtime/target.ts'
import { withLock } from '../provision/system/lock.ts'
import { readDisk } from '../provision/tools/disk.ts'

/** Exit: 0 prepared and locked, 4 in use, not empty or not confirmed, 12 wrong passphrase or key, 21 no such disk. */
export const prepareDisk = defineCommand({
  name: 'prepare-disk',
  summary: 'encrypt the box’s disk with GELI and make its pool; all that is on it is lost',
  options: {
    erase: { type: 'boolean', help: 'the disk may hold data, and all of it may be lost' },
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      help: 'passphrase of the login knox-shell, first line',
    },
  },
  run: async (knox) => {
    const config = await knox.config()
    const box = await prepareBox(config)
    const passphrase = await knox.passphrase('passphrase of the keys')
    return withLock(box.folder, () =>
      withShell(box, passphrase, knox.emit, async (runner) => {
        const disk = await runner.read(readDisk(config.box.disk))
        checkDisk(disk, knox.args.flag('erase'))
        if (knox.dryRun) {
          const commands = preparations(config, new Secret('disk key', '')).map(({ change }) =>
            quoteAll(change.argv),
          )
          knox.result(commands.join('\n'), { disk, commands })
          return undefined
        }
        await knox.confirm(`everything on ${describeDisk(disk)} will be lost; go on?`)
        await prepare(config, box.folder, runner, knox.emit)
        knox.result(`${describeDisk(disk)} is encrypted, holds the pool ${config.box.pool}, and is locked`, {
          disk,
        })
        return undefined
      }),
    )
  },
})
