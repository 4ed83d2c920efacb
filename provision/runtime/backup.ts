import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { listInventory, type Dataset } from '../tools/zfs.ts'
import { checkBox, checkHome, checkRoom, checkRoot, type Consent } from './consent.ts'
import { readDeletionState, writeDeletionState } from './deletion-state.ts'
import {
  planDeletions,
  vanishedDatasets,
  vanishedProblems,
  type DeletionState,
  type World,
} from './deletions.ts'
import { destroyOnBox } from './destroy-on-box.ts'
import { holdAtHome, holdForSends } from './home-holds.ts'
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
import type { BoxInventory, Session } from './session.ts'
import { estimateSends, sendAll, sendsOf, totalSize } from './send-streams.ts'
import { connect, prepareBox, type Box, type Connection } from './target.ts'
import { unlock } from './unlock.ts'

export interface BackupOptions {
  /** look at the box even if the receipt says that nothing is to be sent */
  readonly prove: boolean
  readonly accept: ReadonlySet<Consent>
}

export interface BackupReport {
  readonly outcome: 'sent' | 'nothing-to-send'
  readonly streams: number
  readonly bytes: number
  readonly seconds: number
  /** datasets that the box was seen to hold */
  readonly delivered: number
  /** snapshots that the box has forgotten, since home has them no longer */
  readonly destroyed: number
  readonly problems: readonly Problem[]
  readonly receipt: Receipt
}

/** seconds after which a run looks at the box again although nothing is to be sent */
const PROOF_AGE = 7 * 86_400

/** Reads all that is at home. One zfs process whatever the number of datasets. */
const readAll = (config: Config, emit: Emit): Promise<readonly Dataset[]> =>
  runnerAt(HERE, emit).read(listInventory(config.home.pool))

/** Reads what is at home, without what is excluded. */
export const readHome = async (config: Config, emit: Emit): Promise<readonly Dataset[]> =>
  included(await readAll(config, emit), config.home.exclude)

/** What a run would do, as far as home knows: by the last receipt, without asking the box. */
export const planFromReceipt = async (config: Config, folder: string, emit: Emit): Promise<Plan> =>
  planBackup(await readHome(config, emit), rememberedDatasets(await readReceipt(folder)), poolsOf(config))

const poolsOf = (config: Config) => ({ home: config.home.pool, box: config.box.pool })

/** Lets the box forget what home has no longer, within the guard; what the box then lists. */
const thinOut = async (
  session: Session,
  world: World,
  after: BoxInventory,
  plan: Plan,
  config: Config,
  options: BackupOptions,
  state: DeletionState,
  emit: Emit,
) => {
  const policy = config.home.deletions
  if (policy === 'never') return { after, destroyed: 0, problems: [], state }
  const untouched = new Set(plan.problems.map(({ dataset }) => dataset))
  const accepted = options.accept.has('deletions')
  const deletions = planDeletions(world, state, policy, untouched, accepted, new Date())
  const destroyed = await destroyOnBox(session, deletions.destroy, emit)
  if (destroyed > 0)
    emit({ type: 'done', title: `the box has forgotten ${destroyed} snapshots that are gone at home` })
  return {
    after: destroyed > 0 ? await session.list() : after,
    destroyed,
    problems: deletions.problems,
    state: deletions.state,
  }
}

/** Old branches are known before they are made: a run that is cut off must not leave one that is taken for a vanished dataset. */
const keepBranches = async (folder: string, kept: readonly string[]): Promise<DeletionState> => {
  const state = await readDeletionState(folder)
  if (kept.length === 0) return state
  const branches = Object.fromEntries(kept.map((guid) => [guid, 'kept' as const]))
  const known = { ...state, datasets: { ...state.datasets, ...branches } }
  await writeDeletionState(folder, known)
  return known
}

const sessionWork = async (
  connection: Connection,
  all: readonly Dataset[],
  config: Config,
  options: BackupOptions,
  emit: Emit,
): Promise<Omit<BackupReport, 'outcome'>> => {
  const { session, target } = connection
  const { accept } = options
  const pools = poolsOf(config)
  const home = included(all, config.home.exclude)
  await unlock(connection, emit)
  const found = await session.list()
  checkBox(await readReceipt(target.folder), found, accept)
  const { partials, before } = await findPartials(session, found, home, emit)
  const plan = planBackup(home, before.datasets, pools, partials, accept.has('divergence'))
  const sends = sendsOf(plan)
  const root = home.find(({ name }) => name === pools.home)
  if (root !== undefined) checkRoot(root, before, sends.length)
  const sizes = await estimateSends(sends, emit)
  checkRoom(totalSize(sizes), before, accept)
  const remembered = await keepBranches(target.folder, plan.kept)
  const held = sends.length === 0 ? home : await holdForSends(config, home, sends, emit)
  emit({ type: 'step', title: `sending ${sends.length} streams` })
  const { bytes, seconds } = await sendAll(session, plan, sizes, emit)
  const rate = seconds > 0 ? `, ${formatBytes(bytes / seconds)}/s` : ''
  emit({ type: 'done', title: `sent ${formatBytes(bytes)} in ${formatDuration(seconds)}${rate}` })
  const arrived = plan.steps.length === 0 ? before : await session.list()
  const world = { home: all, exclude: config.home.exclude, box: arrived.datasets, pools }
  const thin = await thinOut(session, world, arrived, plan, config, options, remembered, emit)
  const unmet = unmetGoals(plan.goals, thin.after.datasets)
  if (unmet.length > 0)
    throw new KnoxError(
      'verification',
      `the box does not list what was sent: ${unmet.map(({ home: name, newest }) => `${name}@${newest.name}`).join(', ')}`,
      ['no receipt was written; run it again'],
    )
  emit({ type: 'step', title: 'locking the disk' })
  await session.bye()
  const receipt = receiptOf(config.box.name, home[0]?.guid, thin.after, new Date())
  await writeReceipt(target.folder, receipt)
  if (thin.state !== remembered) await writeDeletionState(target.folder, thin.state)
  const sent = new Set(sends.map(({ range }) => range.dataset))
  if (held !== undefined) await holdAtHome(config, held, plan.goals, sent, emit)
  emit({
    type: 'done',
    title: `proved: ${plan.goals.length} datasets are on the box, and its disk is locked`,
  })
  const problems = [...plan.problems, ...thin.problems]
  const { destroyed } = thin
  return { streams: sends.length, bytes, seconds, delivered: plan.goals.length, destroyed, problems, receipt }
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
  const all = await readAll(config, emit)
  const home = included(all, config.home.exclude)
  const receipt = await readReceipt(box.folder)
  checkHome(receipt, home, options.accept)
  const pools = poolsOf(config)
  const boxThen = rememberedDatasets(receipt)
  const remembered = planBackup(home, boxThen, pools)
  emit({ type: 'step', title: `calling the box ${box.name}` })
  const connection = await connect(box, emit)
  const { session } = connection
  emit({ type: 'done', title: `the box ${box.name} answers, its disk is ${session.disk}` })
  try {
    const look = options.prove || options.accept.size > 0
    if (!look && session.disk === 'locked' && isProved(remembered, receipt, box.name)) {
      await session.bye()
      const world = { home: all, exclude: config.home.exclude, box: boxThen, pools }
      const vanished = vanishedDatasets(world, await readDeletionState(box.folder))
      return {
        outcome: 'nothing-to-send',
        ...{ streams: 0, bytes: 0, seconds: 0, destroyed: 0 },
        delivered: remembered.goals.length,
        problems: config.home.deletions === 'never' ? [] : vanishedProblems(vanished, pools),
        receipt,
      }
    }
    return { outcome: 'sent', ...(await sessionWork(connection, all, config, options, emit)) }
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
