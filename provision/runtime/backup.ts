import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { listInventory, type Dataset } from '../tools/zfs.ts'
import { checkBox, checkHome, checkRoom, checkRoot, type Consent } from './consent.ts'
import { readDeletionState, writeDeletionState } from './deletion-state.ts'
import { vanishedDatasets, vanishedProblems } from './deletions.ts'
import { holdAtHome, holdForSends } from './home-holds.ts'
import { included, planBackup, unmetGoals, type Plan, type Problem, type Send } from './plan.ts'
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
import { estimateSends, knownSize, sendAll, sendsOf } from './send-streams.ts'
import type { BoxInventory } from './session.ts'
import { endOf, failureOfStream, setAside, type Failure } from './set-aside.ts'
import { staying } from './staying.ts'
import { connect, prepareBox, type Box, type Connection } from './target.ts'
import { thinBefore, thinOut, type Forgetting } from './thin-out.ts'
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

/** seconds for the list of all snapshots at home: there may be very many, on slow disks */
const LIST = 3600

/** Reads all that is at home. One zfs process whatever the number of datasets. */
const readAll = (config: Config, emit: Emit): Promise<readonly Dataset[]> =>
  runnerAt(HERE, emit, LIST).read(listInventory(config.home.pool))

/** Reads what is at home, without what is excluded. */
export const readHome = async (config: Config, emit: Emit): Promise<readonly Dataset[]> =>
  included(await readAll(config, emit), config.home.exclude)

/** What a run would do, as far as home knows: by the last receipt, without asking the box. */
export const planFromReceipt = async (config: Config, folder: string, emit: Emit): Promise<Plan> =>
  planBackup(await readHome(config, emit), rememberedDatasets(await readReceipt(folder)), poolsOf(config))

const poolsOf = (config: Config) => ({ home: config.home.pool, box: config.box.pool })

/** A disk that fails is told by every run that has it open: while it still answers another one can be made. */
const damageOf = ({ name, trouble }: BoxInventory['pool']): readonly Problem[] =>
  trouble === ''
    ? []
    : [
        {
          dataset: name,
          kind: 'damage',
          message: `the box’s disk fails: ${trouble}`,
          hint: 'knox scrub says what is damaged; prepare another disk while this one still answers',
        },
      ]

/** Old branches are known before they are made: a run that is cut off must not leave one that is taken for a vanished dataset. */
const keepBranches = async (folder: string, kept: readonly string[]): Promise<void> => {
  if (kept.length === 0) return
  const state = await readDeletionState(folder)
  const branches = Object.fromEntries(kept.map((guid) => [guid, 'kept' as const]))
  await writeDeletionState(folder, { ...state, datasets: { ...state.datasets, ...branches } })
}

/** A stream that failed, and of what plan; or what is proved although streams of this run failed before. */
type Unproved =
  | { readonly outcome: 'failed'; readonly send: Send; readonly error: unknown; readonly plan: Plan }
  | { readonly outcome: 'rest'; readonly delivered: number }

const sessionWork = async (
  connection: Connection,
  all: readonly Dataset[],
  config: Config,
  options: BackupOptions,
  failures: readonly Failure[],
  emit: Emit,
): Promise<BackupReport | Unproved> => {
  const { session, target } = connection
  const { accept } = options
  const pools = poolsOf(config)
  const home = included(all, config.home.exclude)
  await unlock(connection, emit)
  const found = await session.list()
  checkBox(await readReceipt(target.folder), found, accept)
  const { partials, before } = await findPartials(session, found, home, emit)
  const whole = planBackup(home, before.datasets, pools, partials, accept.has('divergence'))
  const plan = setAside(whole, failures, pools)
  const sends = sendsOf(plan)
  const root = home.find(({ name }) => name === pools.home)
  if (root !== undefined) checkRoot(root, before, sends.length)
  const sizes = await staying(session, () => estimateSends(sends, emit))
  const bytesKnown = knownSize(sizes, emit)
  const forgetting: Forgetting = {
    world: { home: all, exclude: config.home.exclude, pools },
    policy: config.home.deletions,
    accepted: accept.has('deletions'),
    folder: target.folder,
  }
  // zfs only estimates, so that half of the room counts as short
  const isShort = bytesKnown > before.pool.available / 2
  const early = await thinBefore(session, forgetting, before, plan, isShort, emit)
  checkRoom(bytesKnown, early.after, accept)
  await keepBranches(target.folder, plan.kept)
  const held =
    sends.length === 0 ? home : await staying(session, () => holdForSends(config, home, sends, emit))
  emit({ type: 'step', title: `sending ${sends.length} streams` })
  const { bytes, seconds, failed } = await sendAll(session, plan, sizes, emit)
  if (failed !== undefined) return { outcome: 'failed', ...failed, plan }
  const rate = seconds > 0 ? `, ${formatBytes(bytes / seconds)}/s` : ''
  emit({ type: 'done', title: `sent ${formatBytes(bytes)} in ${formatDuration(seconds)}${rate}` })
  const arrived = plan.steps.length === 0 ? early.after : await session.list()
  const thin = await thinOut(session, forgetting, arrived, plan, emit)
  const unmet = unmetGoals(plan.goals, thin.after.datasets)
  if (unmet.length > 0)
    throw new KnoxError(
      'verification',
      `the box does not list what was sent: ${unmet.map(({ home: name, newest }) => `${name}@${newest.name}`).join(', ')}`,
      ['no receipt was written; run it again'],
    )
  emit({ type: 'step', title: 'locking the disk' })
  await session.bye()
  if (failures.length > 0) return { outcome: 'rest', delivered: plan.goals.length }
  const receipt = receiptOf(config.box.name, home[0]?.guid, thin.after, new Date())
  await writeReceipt(target.folder, receipt)
  const sent = new Set(sends.map(({ range }) => range.dataset))
  if (held !== undefined) await holdAtHome(config, held, plan.goals, sent, emit)
  emit({
    type: 'done',
    title: `proved: ${plan.goals.length} datasets are on the box, and its disk is locked`,
  })
  const problems = [...plan.problems, ...thin.problems, ...damageOf(thin.after.pool)]
  const destroyed = early.destroyed + thin.destroyed
  const delivered = plan.goals.length
  return { outcome: 'sent', streams: sends.length, bytes, seconds, delivered, destroyed, problems, receipt }
}

/** True if the last proof says that the box has all of it, and is young enough to be believed. */
const isProved = (plan: Plan, receipt: Receipt | undefined, box: string): receipt is Receipt => {
  if (
    receipt?.box !== box ||
    receipt.pool.trouble !== '' ||
    plan.steps.length > 0 ||
    plan.problems.length > 0
  )
    return false
  const age = receiptAge(receipt, new Date())
  return age >= 0 && age < PROOF_AGE
}

type Attempt =
  | BackupReport
  | Extract<Unproved, { outcome: 'rest' }>
  /** isLast: there is no other dataset to send or to look at */
  | { readonly outcome: 'failed'; readonly failure: Failure; readonly isLast: boolean }

/** One try: a connection, and all that is to be done over it, but for the datasets that have failed. */
const attempt = async (
  config: Config,
  box: Box,
  options: BackupOptions,
  failures: readonly Failure[],
  emit: Emit,
): Promise<Attempt> => {
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
  let end: BackupReport | Unproved
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
    end = await sessionWork(connection, all, config, options, failures, emit)
  } catch (error) {
    throw await session.abandon(error)
  }
  if (end.outcome !== 'failed') return end
  const error = await session.abandon(end.error)
  const failure = failureOfStream(end.send, error)
  if (failure === undefined) throw error
  const isLast = setAside(end.plan, [failure], pools).goals.length === 0
  return { outcome: 'failed', failure, isLast }
}

/** streams that may fail in a run: each costs another unlocking, and a home or a box that is broken must come to an end */
const MOST_FAILURES = 20

/** Tries, and after a stream that failed goes on with the other datasets: what cannot be sent must not keep them from the box. */
const tryAll = async (
  config: Config,
  box: Box,
  options: BackupOptions,
  emit: Emit,
): Promise<BackupReport> => {
  const failures: Failure[] = []
  for (;;) {
    const end = await withRetries(config.home.retries, emit, () =>
      attempt(config, box, options, failures, emit),
    ).catch((error: unknown) => {
      throw endOf(failures, error instanceof Error ? error : new Error(String(error)))
    })
    if (end.outcome === 'rest') throw endOf(failures, end.delivered)
    if (end.outcome !== 'failed') return end
    failures.push(end.failure)
    if (end.isLast || failures.length >= MOST_FAILURES) throw endOf(failures)
    emit({ type: 'warning', text: `${messageOf(end.failure.error)}; going on with the other datasets` })
  }
}

/**
 * Sends what the box lacks, and proves it: success means that the box lists every snapshot that home meant to deliver,
 * and then says that its disk is locked. With nothing to send the box is only asked whether it lives.
 * A connection that breaks is made anew, `home.retries` times. After a stream that fails the other datasets are still sent and looked
 * at, over a connection of their own; then the run fails as the first stream did, and no receipt is written.
 * Throws a KnoxError that names what failed; the box locks its disk in every case.
 */
export const backup = async (config: Config, options: BackupOptions, emit: Emit): Promise<BackupReport> => {
  const box = await prepareBox(config)
  return withLock(box.folder, () => tryAll(config, box, options, emit))
}
