import { join } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES } from '../core/keys.ts'
import { formatBytes, formatDuration } from '../core/sizes.ts'
import { readSecretFile } from '../system/files.ts'
import { withLock } from '../system/lock.ts'
import { run } from '../system/process.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { sshArgv } from '../tools/ssh.ts'
import { estimateSend, listInventory, sendArgv, type Dataset } from '../tools/zfs.ts'
import { included, planBackup, unmetGoals, type Plan, type Problem, type Send } from './plan.ts'
import {
  readReceipt,
  receiptAge,
  receiptOf,
  rememberedDatasets,
  writeReceipt,
  type Receipt,
} from './receipt.ts'
import type { Session } from './session.ts'
import { connect, prepareBox, type Connection } from './target.ts'

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

const sendsOf = (plan: Plan): readonly Send[] => plan.steps.filter((step) => step.step === 'send')

const ESTIMATES_AT_ONCE = 4

/** Estimated bytes of each stream, in the order of the sends; undefined where zfs does not say. */
export const estimateSends = async (
  sends: readonly Send[],
  emit: Emit,
): Promise<readonly (number | undefined)[]> => {
  const runner = runnerAt(HERE, emit)
  const sizes: (number | undefined)[] = []
  for (let i = 0; i < sends.length; i += ESTIMATES_AT_ONCE) {
    const some = sends.slice(i, i + ESTIMATES_AT_ONCE)
    // a send that cannot even be estimated fails by itself, and is reported then
    sizes.push(
      ...(await Promise.all(
        some.map(({ range }) => runner.read(estimateSend(range)).catch(() => undefined)),
      )),
    )
  }
  return sizes
}

const sendAll = async (
  session: Session,
  plan: Plan,
  emit: Emit,
): Promise<{ bytes: number; seconds: number }> => {
  const sends = sendsOf(plan)
  const sizes = await estimateSends(sends, emit)
  const totalOf = sizes.reduce(
    (sum, size) => (sum === undefined || size === undefined ? undefined : sum + size),
    0,
  )
  const started = Date.now()
  const seconds = () => (Date.now() - started) / 1000
  let bytes = 0
  for (const step of plan.steps) {
    if (step.step === 'place') await session.place(step.dataset)
    else if (step.step === 'rename') {
      emit({ type: 'note', text: `renaming ${step.from} to ${step.to} on the box` })
      await session.rename(step.from, step.to)
    } else {
      const of = sizes[sends.indexOf(step)]
      let now = 0
      const argv = sendArgv(step.range)
      emit({ type: 'command', argv, where: 'home' })
      await session.receive(step.kind, step.dataset, argv, (progress) => {
        now = progress.bytes
        emit({
          type: 'progress',
          dataset: step.range.dataset,
          bytes: now,
          of,
          totalBytes: bytes + now,
          totalOf,
          seconds: seconds(),
        })
      })
      bytes += Math.max(now, of ?? 0)
    }
  }
  return { bytes, seconds: seconds() }
}

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

const unlock = async ({ session, target }: Connection): Promise<void> => {
  const key = await readSecretFile(join(target.folder, KEY_FILES.disk), 'disk key')
  await session.unlock(() => run(sshArgv(target, 'knox-fifo'), { stdin: key, timeout: 120 }))
}

const sessionWork = async (
  connection: Connection,
  home: readonly Dataset[],
  config: Config,
  options: BackupOptions,
  emit: Emit,
): Promise<Omit<BackupReport, 'outcome'>> => {
  const { session, target } = connection
  emit({ type: 'step', title: 'unlocking the disk' })
  await unlock(connection)
  emit({ type: 'done', title: 'the disk is unlocked' })
  const before = await session.list()
  checkPool(await readReceipt(target.folder), before.pool, options.acceptNewPool)
  const plan = planBackup(home, before.datasets, poolsOf(config))
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

/**
 * Sends what the box lacks, and proves it: success means that the box lists every snapshot that home meant to deliver,
 * and then says that its disk is locked. With nothing to send the box is only asked whether it lives.
 * Throws a KnoxError that names what failed; the box locks its disk in every case.
 */
export const backup = async (config: Config, options: BackupOptions, emit: Emit): Promise<BackupReport> => {
  const box = await prepareBox(config)
  return withLock(box.folder, async () => {
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
  })
}
