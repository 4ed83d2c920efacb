import type { Config } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import type { Secret } from '../core/secret.ts'
import { withLock } from '../system/lock.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { createDataset, discardPartial, listTokens } from '../tools/zfs-receive.ts'
import { listInventory, type Dataset } from '../tools/zfs.ts'
import { withOpenBox, type OpenBox } from './open-box.ts'
import { bringSettings } from './own-settings.ts'
import { inTheWay, ownSnapshots } from './own-snapshots.ts'
import { planBackup, unmetGoals, type PartialReceive, type Plan, type Send } from './plan.ts'
import { beginRestoring, endRestoring } from './restoring.ts'
import { pointOf } from './resume.ts'
import { withRetries } from './retry.ts'
import { takeStream } from './take-stream.ts'
import { prepareBox } from './target.ts'

/** The way back: datasets from the box, with all their snapshots, into a pool at home. */

export interface RestoreOptions {
  /** the dataset on the box, with all below it */
  readonly source: string
  /** where it goes at home */
  readonly target: string
  /** the target may exist without snapshots, and what is in it may be lost */
  readonly overwrite: boolean
}

export interface RestoreReport {
  readonly target: string
  readonly datasets: number
  readonly snapshots: number
  readonly bytes: number
}

const isBelow = (name: string, parent: string): boolean => name === parent || name.startsWith(`${parent}/`)

const poolOf = (dataset: string): string => dataset.split('/')[0] ?? dataset

/** What matters of the pool at home: what is below the target, and the names above it. */
const targetSide = (found: readonly Dataset[], target: string): readonly Dataset[] =>
  found.flatMap((dataset) =>
    isBelow(dataset.name, target)
      ? [dataset]
      : isBelow(target, dataset.name)
        ? [{ ...dataset, snapshots: [] }]
        : [],
  )

interface Partials {
  readonly resumable: boolean
  readonly partials: ReadonlyMap<string, PartialReceive>
  /** what a broken receive has left where this restore would write, and the box cannot go on with */
  readonly stale: readonly string[]
}

/** Interrupted restores below the target. What is there of others, such as another program's, is not looked at. */
const findPartials = async (
  { inventory, runner }: OpenBox,
  { source, target }: RestoreOptions,
  emit: Emit,
): Promise<Partials> => {
  const home = runnerAt(HERE, emit)
  const tokens = await home.read(listTokens(poolOf(target))).catch(() => undefined)
  const partials = new Map<string, PartialReceive>()
  const stale: string[] = []
  const places = new Set(
    inventory.datasets.flatMap(({ name }) =>
      isBelow(name, source) ? [target + name.slice(source.length)] : [],
    ),
  )
  const guids = new Map<string, string>(
    inventory.datasets.flatMap(({ name, snapshots }) =>
      snapshots.map((one) => [`${name}@${one.name}`, one.guid] as const),
    ),
  )
  for (const [name, token] of tokens ?? []) {
    if (!places.has(name)) continue
    const point = await pointOf(runner, name, token, 'at home')
    if (point !== undefined && guids.get(point.snapshot) === point.guid) {
      emit({ type: 'note', text: `going on with ${name}, which was interrupted` })
      partials.set(name, { token, guid: point.guid, bytes: point.bytes })
    } else stale.push(name)
  }
  return { resumable: tokens !== undefined, partials, stale }
}

const checkPlan = (plan: Plan, there: readonly Dataset[], options: RestoreOptions): void => {
  // what cannot be brought is never passed over, whatever the reason
  const isDiverged = plan.problems.some(({ kind }) => kind === 'diverged')
  if (isDiverged || plan.steps.some(({ step }) => step === 'rename'))
    throw new KnoxError(
      'refused',
      `${options.target} holds something else than the box’s ${options.source}`,
      ['nothing was changed; choose another --to'],
    )
  const existing = plan.steps.find(
    (step): step is Send =>
      step.step === 'send' && step.kind === 'full' && there.some(({ name }) => name === step.dataset),
  )
  if (existing !== undefined && !options.overwrite)
    throw new KnoxError('refused', `${existing.dataset} is there already`, [
      'nothing was changed; choose another --to, or say --overwrite if all that is in it may be lost',
    ])
}

const lookAtHome = async (target: string, emit: Emit): Promise<readonly Dataset[]> =>
  targetSide(await runnerAt(HERE, emit).read(listInventory(poolOf(target))), target)

/** Does what `restoreDatasets` does with a box that is open; `folder` is the key folder. Throws what it throws, and what `takeStream` throws. */
export const bringDatasets = async (
  open: OpenBox,
  folder: string,
  options: RestoreOptions,
  emit: Emit,
): Promise<RestoreReport> => {
  const { source, target, overwrite } = options
  const home = runnerAt(HERE, emit)
  const wanted = open.inventory.datasets.filter(({ name }) => isBelow(name, source))
  if (!wanted.some(({ name }) => name === source))
    throw new KnoxError('config', `the box has no dataset ${source}`, [
      'knox restore --list shows what it has',
    ])
  const { resumable, partials, stale } = await findPartials(open, options, emit)
  const nameAtHome = (name: string) => target + name.slice(source.length)
  const planFor = (found: readonly Dataset[]) => {
    const own = ownSnapshots(wanted, found, nameAtHome)
    if (own.length > 0) throw inTheWay(own, source, target)
    const made = planBackup(wanted, found, { home: source, box: target }, partials)
    checkPlan(made, found, options)
    return made
  }
  // a first stream that broke off is all that such a dataset is; nothing is discarded if the rest is refused
  const isOnlyStale = ({ name, snapshots }: Dataset) => snapshots.length === 0 && stale.includes(name)
  planFor((await lookAtHome(target, emit)).filter((dataset) => !isOnlyStale(dataset)))
  for (const name of stale) {
    emit({
      type: 'note',
      text: `what had begun to arrive in ${name} is no longer on the box: it is discarded`,
    })
    await home.act(discardPartial(name))
  }
  const plan = planFor(await lookAtHome(target, emit))
  if (plan.steps.length > 0) await beginRestoring(folder, options)
  let bytes = 0
  for (const step of plan.steps) {
    if (step.step === 'place') await home.act(createDataset(step.dataset))
    else if (step.step === 'send')
      bytes += await takeStream(
        open.place,
        step,
        { resumable, overwrite: overwrite && step.kind === 'full' },
        emit,
      )
  }
  const unmet = unmetGoals(plan.goals, await lookAtHome(target, emit))
  if (unmet.length > 0)
    throw new KnoxError(
      'verification',
      `what was restored is not all at home: ${unmet.map(({ dataset }) => dataset).join(', ')}`,
      ['run it again'],
    )
  await endRestoring(folder, target)
  await bringSettings(open.runner, home, options, new Set(plan.goals.map(({ dataset }) => dataset)), emit)
  const snapshots = plan.goals.reduce((sum, { guids }) => sum + guids.length, 0)
  return { target, datasets: plan.goals.length, snapshots, bytes }
}

/**
 * Brings a dataset of the box and all below it to home, every snapshot, and looks that all of it is there. A restore that was
 * interrupted goes on, and a connection that breaks is made anew, `home.retries` times. It adds, and touches nothing that is at home,
 * unless `overwrite` is said.
 * Throws `refused` if the target holds something else, `config` if there is no such dataset or pool.
 */
export const restoreDatasets = async (
  config: Config,
  options: RestoreOptions,
  passphrase: Secret,
  emit: Emit,
): Promise<RestoreReport> => {
  const box = await prepareBox(config)
  await lookAtHome(options.target, emit)
  return withLock(box.folder, () =>
    withRetries(config.home.retries, emit, () =>
      withOpenBox(box, passphrase, emit, (open) => bringDatasets(open, box.folder, options, emit)),
    ),
  )
}
