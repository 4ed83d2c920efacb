import { join } from 'node:path'
import { userInfo } from 'node:os'
import { KnoxError, messageOf } from '../core/errors.ts'
import { quoteAll } from '../core/quote.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { planFromReceipt, readHome } from '../runtime/backup.ts'
import { lastLink } from '../runtime/measure-link.ts'
import { metadataFile } from '../runtime/prepared-disk.ts'
import { preview } from '../runtime/preview.ts'
import { readReceipt } from '../runtime/receipt.ts'
import { findLine, parseTime, problemOfTime, runsAt } from '../runtime/schedule.ts'
import { findConfig, homeFolder } from '../system/config-file.ts'
import { exists } from '../system/files.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { allowUser } from '../tools/zfs-allow.ts'
import { readCrontab } from '../tools/crontab.ts'
import { configNow, type Step } from './step.ts'

const silent = () => undefined

/** Chosen, encrypted, with a pool on it, and locked again; one that is so already is only made known. */
export const disk: Step = {
  title: 'the box’s disk',
  plan: 'knox prepare-disk',
  look: async (world) => {
    const config = await configNow(world)
    const isPrepared = await exists(join(homeFolder(config), metadataFile(config.box.disk)))
    return isPrepared ? `${config.box.disk} is encrypted, a copy of its metadata is at home` : undefined
  },
  act: ({ owner }) => {
    const disk = owner.args.text('disk')
    return owner.run([
      'prepare-disk',
      ...(disk === undefined ? [] : [`--disk=${disk}`]),
      ...['speed', 'erase'].flatMap((name) => (owner.args.flag(name) ? [`--${name}`] : [])),
    ])
  },
}

/** zfs's own rights: a user's runs need no root once they are given. */
const withDelegation = (error: unknown, pool: string): unknown => {
  if (!(error instanceof KnoxError) || error.code !== 'platform' || process.getuid?.() === 0) return error
  return new KnoxError('platform', `zfs does not let ${userInfo().username} take snapshots of ${pool}`, [
    `once, as root: ${quoteAll(allowUser(userInfo().username, pool).argv)}`,
  ])
}

/** What is to be sent. */
export const snapshot: Step = {
  title: 'a snapshot',
  plan: 'knox snapshot',
  look: async (world) => {
    const config = await configNow(world)
    const root = (await readHome(config, silent)).find(({ name }) => name === config.home.pool)
    const newest = root?.snapshots.at(-1)
    return newest === undefined ? undefined : `${config.home.pool}@${newest.name}`
  },
  act: async (world) => {
    const { pool } = (await configNow(world)).home
    await world.owner.run(['snapshot']).catch((error: unknown) => {
      throw withDelegation(error, pool)
    })
  },
}

/** The first send, and its proof; can be interrupted and goes on. */
export const firstBackup: Step = {
  title: 'the first backup',
  plan: 'knox backup',
  look: async (world) => {
    const config = await configNow(world)
    const receipt = await readReceipt(homeFolder(config))
    if (receipt?.box !== config.box.name) return undefined
    // a run that left datasets behind has written a receipt too
    const { problems } = await planFromReceipt(config, homeFolder(config), silent)
    return problems.length === 0
      ? `${receipt.datasets.length} datasets proved on ${receipt.provedAt}, and the disk is locked`
      : undefined
  },
  act: async (world) => {
    const config = await configNow(world)
    const { streams } = await preview(config, silent, false)
    const bytes = streams.reduce((sum, stream) => sum + (stream.bytes ?? 0), 0)
    const rate = await lastLink(homeFolder(config))
    const time =
      rate === undefined ? '' : `, ${formatDuration(bytes / rate)} at the measured ${formatBytes(rate)}/s`
    world.emit({
      type: 'note',
      text: `about ${formatBytes(bytes)} are to be sent${time}; it can be stopped and goes on where it was`,
    })
    await world.owner.run(['backup'])
  },
}

/** A machine without crontab(1), or a user who may not have one: knox cannot write the schedule. */
const isWithoutCron = (error: unknown): boolean =>
  error instanceof KnoxError && ['platform', 'refused'].includes(error.code)

/** Every day from now on. Where cron cannot be told, its line is printed, and the road goes on. */
export const schedule: Step = {
  title: 'the schedule',
  plan: 'knox schedule',
  optional: true,
  look: async (world) => {
    const path = await findConfig(world.configPath)
    if (path === undefined) return undefined
    const crontab = await runnerAt(HERE, silent)
      .read(readCrontab)
      .catch((error: unknown) => {
        if (isWithoutCron(error)) return ''
        throw error
      })
    const line = findLine(crontab, path)
    const said = world.owner.args.text('time')
    return line === undefined || said === undefined || runsAt(line, parseTime(said)) ? line : undefined
  },
  act: async ({ owner, emit }) => {
    const time = await owner.ask({
      question: 'when shall it run, every day?',
      flag: 'time',
      initial: '17:59',
      problem: problemOfTime,
    })
    try {
      await owner.run(['schedule', '--time', time])
    } catch (error) {
      if (!isWithoutCron(error)) throw error
      emit({
        type: 'warning',
        text: messageOf(error),
        hint: 'whatever runs things daily here can take this line’s command:',
      })
      await owner.run(['schedule', '--time', time, '--print'])
    }
  },
}
