import { KnoxError, messageOf, type ErrorCode } from '../core/errors.ts'
import { isBelow } from './plan-box.ts'
import type { Plan, Pools, Send } from './plan.ts'

/** A stream that fails is no reason to keep the other datasets from the box: pure, what is left of a plan, and how the run ends. */

export interface Failure {
  /** home's name */
  readonly dataset: string
  /** true if the box does not have the dataset, so that nothing below it can be received either */
  readonly isWhole: boolean
  readonly error: KnoxError
}

const OF_STREAMS: readonly ErrorCode[] = ['send-failed', 'receive-failed', 'no-space']

/** The failure of a stream; undefined where it is the connection, the box or knox itself that fails. */
export const failureOfStream = ({ range }: Send, error: unknown): Failure | undefined =>
  error instanceof KnoxError && OF_STREAMS.includes(error.code)
    ? { dataset: range.dataset, isWhole: range.from === undefined, error }
    : undefined

/** A plan without the datasets that failed, and what is below one that the box does not have. */
export const setAside = (plan: Plan, failures: readonly Failure[], pools: Pools): Plan => {
  const isAside = (name: string) =>
    failures.some(({ dataset, isWhole }) => name === dataset || (isWhole && isBelow(name, dataset)))
  const homeName = (name: string) => pools.home + name.slice(pools.box.length)
  return {
    ...plan,
    goals: plan.goals.filter(({ home }) => !isAside(home)),
    steps: plan.steps.filter(
      (step) =>
        step.step === 'rename' ||
        !isAside(step.step === 'send' ? step.range.dataset : homeName(step.dataset)),
    ),
  }
}

/** what the owner must know of rather than of a stream */
const GRAVER: readonly ErrorCode[] = ['left-unlocked', 'verification', 'interrupted']
const SHOWN = 10

/**
 * How a run with failed streams ends: by the first of them. `rest` is how many datasets are on the box all the same, or what
 * the run that went on with them has thrown, which wins where it is graver.
 */
export const endOf = (failures: readonly Failure[], rest?: number | Error): Error => {
  const [first, ...others] = failures
  const isGraver = rest instanceof Error && (!(rest instanceof KnoxError) || GRAVER.includes(rest.code))
  if (rest instanceof Error && (first === undefined || isGraver)) return rest
  const { code, message, hints } = first?.error ?? new KnoxError('failed', 'no stream failed')
  return new KnoxError(code, message, [
    ...hints,
    ...others.slice(0, SHOWN).map(({ error }) => `also: ${messageOf(error)}`),
    ...(rest instanceof Error ? [`the others were not proved: ${messageOf(rest)}`] : []),
    ...(typeof rest === 'number'
      ? [
          `${rest === 1 ? 'the other dataset is' : `the other ${rest} datasets are`} on the box; no receipt was written, since not all arrived`,
        ]
      : []),
    'home.exclude in knox.yaml leaves out a dataset that cannot be sent at all',
  ])
}
