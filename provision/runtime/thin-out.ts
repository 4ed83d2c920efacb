import type { Emit } from '../core/events.ts'
import { readDeletionState, writeDeletionState } from './deletion-state.ts'
import {
  planDeletions,
  type DeletionPlan,
  type DeletionPolicy,
  type DeletionState,
  type World,
} from './deletions.ts'
import { destroyOnBox } from './destroy-on-box.ts'
import type { Plan, Problem } from './plan.ts'
import { isBelow } from './plan-box.ts'
import type { BoxInventory, Session } from './session.ts'

/** Lets the box forget what home has no longer, within the guard of deletions.ts. */

export interface Forgetting {
  readonly world: Omit<World, 'box'>
  readonly policy: DeletionPolicy | 'never'
  /** the owner's --accept-deletions */
  readonly accepted: boolean
  /** of the state */
  readonly folder: string
}

export interface Thinned {
  /** what the box lists then */
  readonly after: BoxInventory
  readonly destroyed: number
  readonly problems: readonly Problem[]
}

const planFor = (
  { world, accepted }: Forgetting,
  policy: DeletionPolicy,
  box: World['box'],
  plan: Plan,
  state: DeletionState,
): DeletionPlan => {
  const untouched = new Set(plan.problems.map(({ dataset }) => dataset))
  return planDeletions({ ...world, box }, state, policy, untouched, accepted, new Date())
}

const destroy = async (
  session: Session,
  box: BoxInventory,
  deletions: DeletionPlan,
  emit: Emit,
): Promise<{ readonly after: BoxInventory; readonly destroyed: number }> => {
  const destroyed = await destroyOnBox(session, deletions.destroy, emit)
  if (destroyed === 0) return { after: box, destroyed }
  emit({ type: 'done', title: `the box has forgotten ${destroyed} snapshots that are gone at home` })
  return { after: await session.list(), destroyed }
}

/**
 * Before anything is sent: counts this day of the grace, whatever becomes of the run. If room is short, what is due goes now, since
 * a full box could never be sent to again. What the plan is about to move still has a name that home does not know: it waits.
 */
export const thinBefore = async (
  session: Session,
  forgetting: Forgetting,
  before: BoxInventory,
  plan: Plan,
  isShort: boolean,
  emit: Emit,
): Promise<Omit<Thinned, 'problems'>> => {
  const { policy, folder } = forgetting
  if (policy === 'never') return { after: before, destroyed: 0 }
  const state = await readDeletionState(folder)
  const moves = plan.steps.flatMap((step) => (step.step === 'rename' ? [step.from] : []))
  const isMoved = ({ name }: { readonly name: string }) => moves.some((from) => isBelow(name, from))
  const moved = before.datasets.filter(isMoved)
  const waiting = new Set(moved.flatMap(({ guid, snapshots }) => [guid, ...snapshots.map((one) => one.guid)]))
  const ofWaiting = <T>(entries: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(entries).filter(([guid]) => waiting.has(guid)))
  const staying = before.datasets.filter((dataset) => !isMoved(dataset))
  const deletions = planFor(forgetting, policy, staying, plan, state)
  await writeDeletionState(folder, {
    missing: { ...ofWaiting(state.missing), ...deletions.state.missing },
    datasets: { ...ofWaiting(state.datasets), ...deletions.state.datasets },
  })
  return isShort ? destroy(session, before, deletions, emit) : { after: before, destroyed: 0 }
}

/** After all has arrived: what is due goes, and what needs the owner's consent is told. */
export const thinOut = async (
  session: Session,
  forgetting: Forgetting,
  arrived: BoxInventory,
  plan: Plan,
  emit: Emit,
): Promise<Thinned> => {
  const { policy, folder } = forgetting
  if (policy === 'never') return { after: arrived, destroyed: 0, problems: [] }
  const deletions = planFor(forgetting, policy, arrived.datasets, plan, await readDeletionState(folder))
  await writeDeletionState(folder, deletions.state)
  return { ...(await destroy(session, arrived, deletions, emit)), problems: deletions.problems }
}
