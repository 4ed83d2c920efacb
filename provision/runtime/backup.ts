import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { listInventory, type Dataset } from '../tools/zfs.ts'
import { included, planBackup, unmetGoals, type Plan, type Problem } from './plan.ts'
import {
  readReceipt,
  receiptAge,
  receiptOf,
  rememberedDatasets,
  writeReceipt,
  type Receipt,
} from './receipt.ts'
import { findPartials } from './resume.ts'
import { withRetries } from './retry.ts'
import { sendAll, sendsOf } from './send-streams.ts'
import { connect, prepareBox, type Box, type Connection } from './target.ts'
import { unlock } from './unlock.ts'

export interface BackupOptions {
  /** look at the box even if the receipt says that nothing is to be sent */
  readonly prove: boolean
  /** accept a pool on the box that is not the one of the last receipt */
  readonly acceptNewPool: boolean
}

export interface BackupReport {
  readonly outcome: 'sent' | 'nothing-to-send'
  readonly streams: number
  readonly bytes: number
  readonly seconds: number
  /** datasets that the box was seen to hold */
  readonly delivered: number
  readonly problems: readonly Problem[]
  readonly receipt: Receipt
}

/** seconds after which a run looks at the box again although nothing is to be sent */
const PROOF_AGE = 7 * 86_400

/** Reads what is at home, without what is excluded. One zfs process whatever the number of datasets. */
export const readHome = async (config: Config, emit: Emit): Promise<readonly Dataset[]> =>
  included(await runnerAt(HERE, emit).read(listInventory(config.home.pool)), config.home.exclude)

/** What a run would do, as far as home knows: by the last receipt, without asking the box. */
export const planFromReceipt = async (config: Config, folder: string, emit: Emit): Promise<Plan> =>
  planBackup(await readHome(config, emit), rememberedDatasets(await readReceipt(folder)), poolsOf(config))

const poolsOf = (config: Config) => ({ home: config.home.pool, box: config.box.pool })

const checkPool = (
  receipt: Receipt | undefined,
  found: { guid: string; name: string },
  accept: boolean,
): void => {
  if (receipt === undefined || receipt.pool.guid === found.guid || accept) return
  throw new KnoxError('diverged', `the pool ${found.name} on the box is not the one of the last proof`, [
    `guid ${found.guid} now, ${receipt.pool.guid} on ${receipt.provedAt}`,
    'is it a new disk? --accept-new-pool goes on with it',
  ])
}

const sessionWork = async (
  connection: Connection,
  home: readonly Dataset[],
  config: Config,
  options: BackupOptions,
  emit: Emit,
): Promise<Omit<BackupReport, 'outcome'>> => {
  const { session, target } = connection
  await unlock(connection, emit)
  const found = await session.list()
  checkPool(await readReceipt(target.folder), found.pool, options.acceptNewPool)
  const { partials, before } = await findPartials(session, found, home, emit)
  const plan = planBackup(home, before.datasets, poolsOf(config), partials)
  const streams = sendsOf(plan).length
  emit({ type: 'step', title: `sending ${streams} streams` })
  const { bytes, seconds } = await sendAll(session, plan, emit)
  const rate = seconds > 0 ? `, ${formatBytes(bytes / seconds)}/s` : ''
  emit({ type: 'done', title: `sent ${formatBytes(bytes)} in ${formatDuration(seconds)}${rate}` })
  const after = plan.steps.length === 0 ? before : await session.list()
  const unmet = unmetGoals(plan.goals, after.datasets)
  if (unmet.length > 0)
    throw new KnoxError(
      'verification',
      `the box does not list what was sent: ${unmet.map(({ home: name, newest }) => `${name}@${newest.name}`).join(', ')}`,
      ['no receipt was written; run it again'],
    )
  emit({ type: 'step', title: 'locking the disk' })
  await session.bye()
  const receipt = receiptOf(config.box.name, after, new Date())
  await writeReceipt(target.folder, receipt)
  emit({
    type: 'done',
    title: `proved: ${plan.goals.length} datasets are on the box, and its disk is locked`,
  })
  return { streams, bytes, seconds, delivered: plan.goals.length, problems: plan.problems, receipt }
}

/** True if the last proof says that the box has all of it, and is young enough to be believed. */
const isProved = (plan: Plan, receipt: Receipt | undefined, box: string): receipt is Receipt => {
  if (receipt?.box !== box || plan.steps.length > 0 || plan.problems.length > 0) return false
  const age = receiptAge(receipt, new Date())
  return age >= 0 && age < PROOF_AGE
}

/** One try: a connection, and all that is to be done over it. */
const attempt = async (
  config: Config,
  box: Box,
  options: BackupOptions,
  emit: Emit,
): Promise<BackupReport> => {
  const home = await readHome(config, emit)
  const receipt = await readReceipt(box.folder)
  const remembered = planBackup(home, rememberedDatasets(receipt), poolsOf(config))
  emit({ type: 'step', title: `calling the box ${box.name}` })
  const connection = await connect(box, emit)
  const { session } = connection
  emit({ type: 'done', title: `the box ${box.name} answers, its disk is ${session.disk}` })
  try {
    if (!options.prove && session.disk === 'locked' && isProved(remembered, receipt, box.name)) {
      await session.bye()
      const delivered = remembered.goals.length
      return {
        outcome: 'nothing-to-send',
        streams: 0,
        bytes: 0,
        seconds: 0,
        delivered,
        problems: [],
        receipt,
      }
    }
    return { outcome: 'sent', ...(await sessionWork(connection, home, config, options, emit)) }
  } catch (error) {
    throw await session.abandon(error)
  }
}

/**
 * Sends what the box lacks, and proves it: success means that the box lists every snapshot that home meant to deliver,
 * and then says that its disk is locked. With nothing to send the box is only asked whether it lives.
 * A connection that breaks is made anew, `home.retries` times.
 * Throws a KnoxError that names what failed; the box locks its disk in every case.
 */
export const backup = async (config: Config, options: BackupOptions, emit: Emit): Promise<BackupReport> => {
  const box = await prepareBox(config)
  return withLock(box.folder, () =>
    withRetries(config.home.retries, emit, () => attempt(config, box, options, emit)),
  )
}
