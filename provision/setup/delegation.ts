import { chown, stat } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { KnoxError } from '../core/errors.ts'
import { KEY_FILES } from '../core/keys.ts'
import { quoteAll } from '../core/quote.ts'
import { dirname, join } from 'node:path'
import { findConfig, homeFolder } from '../system/config-file.ts'
import { exists } from '../system/files.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { userId } from '../tools/id.ts'
import { allowedUsers, allowUser } from '../tools/zfs-allow.ts'
import { configNow, type Step, type World } from './step.ts'

const USER = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/

const silent = () => undefined

const isRoot = (): boolean => process.getuid?.() === 0

/** root has made knox.yaml: in a folder of that user it becomes the user's, elsewhere it is said where it is. */
const handOver = async (world: World, user: string): Promise<void> => {
  const path = await findConfig(world.configPath)
  if (path === undefined) return
  const uid = await runnerAt(HERE, world.emit)
    .read(userId(user))
    .catch(() => undefined)
  const folder = await stat(dirname(path))
  if (folder.uid === uid) await chown(path, folder.uid, folder.gid)
  else
    world.emit({
      type: 'note',
      text: `${path} is root’s; ${user} wants a copy of it in the folder where knox setup will be run`,
    })
}

/** A user of its own for the daily runs, who needs no root; the rest of the road is then that user's. */
export const delegation: Step = {
  title: 'who runs it',
  plan: 'as root: zfs allow, for another user if one shall run it',
  optional: true,
  look: async (world) => {
    const config = await configNow(world)
    const { username } = userInfo()
    if (isRoot()) return (await exists(join(homeFolder(config), KEY_FILES.disk))) ? 'root' : undefined
    const users = await runnerAt(HERE, silent).read(allowedUsers(config.home.pool))
    return users.includes(username) ? `${username}, whom zfs lets do it` : undefined
  },
  act: async (world) => {
    const { pool } = (await configNow(world)).home
    if (!isRoot()) {
      const line = quoteAll(allowUser(userInfo().username, pool).argv)
      world.emit({
        type: 'note',
        text: `if zfs does not let you take snapshots of ${pool}, once as root: ${line}`,
      })
      return undefined
    }
    const user = await world.owner.ask({
      question: 'which user shall run it every day? (Enter: root)',
      flag: 'delegate',
      initial: '',
      problem: (text) => (text === '' || USER.test(text) ? undefined : 'is not the name of a user'),
    })
    if (user === '' || user === 'root') return undefined
    const runner = runnerAt(HERE, world.emit)
    await runner.act(allowUser(user, pool))
    if (!(await runner.read(allowedUsers(pool))).includes(user))
      throw new KnoxError('verification', `zfs allow did not take for ${user} on ${pool}`, [
        `zfs allow ${pool} shows what there is`,
      ])
    await handOver(world, user)
    world.emit({
      type: 'done',
      title: `zfs lets ${user} take and send snapshots of ${pool}; all the rest is done by ${user}: knox setup`,
    })
    return 'elsewhere'
  },
}
