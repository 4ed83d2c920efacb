import { userInfo } from 'node:os'
import { join } from 'node:path'
import { snapshotTimes } from '../alerts/assess.ts'
import { isName, NAMES } from '../core/names.ts'
import { quoteAll } from '../core/quote.ts'
import { formatDuration } from '../core/sizes.ts'
import { readHome } from '../runtime/backup.ts'
import { cronLine, findLine } from '../runtime/schedule.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { readCrontab } from '../tools/crontab.ts'
import { allowedUsers, allowUser } from '../tools/zfs-allow.ts'
import { listCreations } from '../tools/zfs.ts'
import { poolSummary } from '../tools/zpool.ts'
import { attention, broken, ok, type Check, type Patient } from './finding.ts'

/** The pool at home, its snapshots, and who may send them when. */

/** per cent; a fuller pool gets slow, and snapshots may fail */
const FULL = 90

const pool: Check<Patient> = {
  name: 'pool',
  look: async ({ config, emit }) => {
    const { pool: name } = config.home
    const { health, capacity } = await runnerAt(HERE, emit).read(poolSummary(name))
    if (!['ONLINE', 'DEGRADED'].includes(health))
      return broken('failed', `the pool ${name} is ${health}`, `zpool status ${name}`)
    if (health === 'DEGRADED') return attention(`the pool ${name} is DEGRADED`, `zpool status ${name}`)
    return capacity >= FULL
      ? attention(`the pool ${name} is ${capacity} % full`, 'remove old snapshots or files at home')
      : ok(`${name} is ONLINE, ${capacity} % full`)
  },
}

const snapshots: Check<Patient> = {
  name: 'snapshots',
  look: async ({ config, emit, now }) => {
    const creations = await runnerAt(HERE, emit).read(listCreations(config.home.pool))
    const times = snapshotTimes(creations, config.home.exclude, now)
    if (times.length === 0) return attention('there is no snapshot yet of what is backed up', 'knox snapshot')
    const age = now.getTime() / 1000 - times.reduce((a, b) => Math.max(a, b))
    return age > config.alerts['max-age']
      ? attention(
          `the newest of ${times.length} is ${formatDuration(age)} old`,
          'knox snapback takes one and sends it',
        )
      : ok(`${times.length}, the newest ${formatDuration(age)} old`)
  },
}

const names: Check<Patient> = {
  name: 'names',
  look: async ({ config, emit }) => {
    const home = await readHome(config, emit)
    const wrong = home.flatMap(({ name, snapshots: own }) => [
      ...(isName(NAMES.dataset, name) ? [] : [name]),
      ...own.filter((one) => !isName(NAMES.snapshot, one.name)).map((one) => `${name}@${one.name}`),
    ])
    return wrong.length === 0
      ? ok(`those of ${home.length} datasets and all their snapshots are ones that the box takes`)
      : attention(
          `${wrong.length} names that the box may refuse, such as ${wrong[0] ?? ''}`,
          'zfs rename, or home.exclude',
        )
  },
}

const permission: Check<Patient> = {
  name: 'zfs allow',
  look: async ({ config, emit }) => {
    const { username } = userInfo()
    if (process.getuid?.() === 0) return ok('root may do all')
    const users = await runnerAt(HERE, emit).read(allowedUsers(config.home.pool))
    return users.includes(username)
      ? ok(`${username} may take and send snapshots`)
      : attention(
          `zfs allow does not name ${username}`,
          `once, as root: ${quoteAll(allowUser(username, config.home.pool).argv)}`,
        )
  },
}

/** A line of a crontab without its time. */
const commandOf = (line: string): string => line.replace(/^(?:\S+\s+){5}/, '')

const schedule: Check<Patient> = {
  name: 'schedule',
  look: async ({ configPath, folder, script, emit }) => {
    const line = findLine(
      await runnerAt(HERE, emit)
        .read(readCrontab)
        .catch(() => ''),
      configPath,
    )
    if (line === undefined)
      return attention('there is no line for it in your crontab', 'knox schedule runs it every day')
    const job = {
      node: process.execPath,
      script,
      config: configPath,
      log: join(folder, 'knox.log'),
      ...{ hour: 0, minute: 0 },
    }
    return commandOf(line) === commandOf(cronLine(job))
      ? ok(line.split(' ').slice(0, 5).join(' '))
      : attention(
          'the line in your crontab is for another node or another place of knox, or an older knox wrote it',
          'knox schedule writes it anew',
        )
  },
}

export const HOME: readonly Check<Patient>[] = [pool, snapshots, names, permission, schedule]
