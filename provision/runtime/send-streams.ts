import type { Emit } from '../core/events.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { estimateSend, resumeArgv, sendArgv } from '../tools/zfs-send.ts'
import type { Plan, Send } from './plan.ts'
import type { Session } from './session.ts'
import type { StreamProgress } from './stream-progress.ts'

/** The streams of a plan. */
export const sendsOf = (plan: Plan): readonly Send[] => plan.steps.filter((step) => step.step === 'send')

const ESTIMATES_AT_ONCE = 4

/** Estimated bytes of each stream, in the order of the sends; undefined where zfs does not say. */
export const estimateSends = async (
  sends: readonly Send[],
  emit: Emit,
): Promise<readonly (number | undefined)[]> => {
  const runner = runnerAt(HERE, emit)
  // a send that cannot even be estimated fails by itself, and is reported then
  const sizeOf = async (send: Send) =>
    send.kind === 'resume' ? send.bytes : runner.read(estimateSend(send.range)).catch(() => undefined)
  const sizes: (number | undefined)[] = []
  for (let i = 0; i < sends.length; i += ESTIMATES_AT_ONCE) {
    const some = sends.slice(i, i + ESTIMATES_AT_ONCE)
    sizes.push(...(await Promise.all(some.map(sizeOf))))
  }
  return sizes
}

/** The bytes of all streams; undefined if one is unknown. */
export const totalSize = (sizes: readonly (number | undefined)[]): number | undefined =>
  sizes.reduce((sum, size) => (sum === undefined || size === undefined ? undefined : sum + size), 0)

/** The bytes of the streams that zfs could estimate; how many it could not is told. */
export const knownSize = (sizes: readonly (number | undefined)[], emit: Emit): number => {
  const unknown = sizes.filter((size) => size === undefined).length
  if (unknown > 0)
    emit({
      type: 'note',
      text: `zfs does not say how much ${unknown} of ${sizes.length} streams are: whether the box has room is seen without them`,
    })
  return totalSize(sizes.filter((size) => size !== undefined)) ?? 0
}

export interface Sent {
  readonly bytes: number
  readonly seconds: number
  /** the stream that did not arrive, after which the session is over */
  readonly failed?: { readonly send: Send; readonly error: unknown }
}

/**
 * Does the steps of a plan in their order, `sizes` as `estimateSends` gives them, up to the first stream that fails. Throws what the
 * session says of a rename or a place.
 */
export const sendAll = async (
  session: Session,
  plan: Plan,
  sizes: readonly (number | undefined)[],
  emit: Emit,
): Promise<Sent> => {
  const sends = sendsOf(plan)
  const totalOf = totalSize(sizes)
  const started = Date.now()
  const seconds = () => (Date.now() - started) / 1000
  let bytes = 0
  for (const step of plan.steps) {
    if (step.step === 'place') await session.place(step.dataset)
    else if (step.step === 'rename') {
      emit({ type: 'note', text: `renaming ${step.from} to ${step.to} on the box` })
      await session.rename(step.from, step.to)
    } else {
      const { dataset, to } = step.range
      if (step.kind === 'resume')
        emit({ type: 'note', text: `going on with ${dataset}@${to}, which was interrupted` })
      const of = sizes[sends.indexOf(step)]
      let now = 0
      const argv = step.kind === 'resume' ? resumeArgv(step.token) : sendArgv(step.range)
      emit({ type: 'command', argv, where: 'home' })
      const show = (progress: StreamProgress) => {
        now = progress.bytes
        const total = { totalBytes: bytes + now, totalOf, seconds: seconds() }
        emit({ type: 'progress', dataset, bytes: now, of, ...total })
      }
      try {
        await session.receive(step.kind, step.dataset, argv, show)
      } catch (error) {
        return { bytes: bytes + now, seconds: seconds(), failed: { send: step, error } }
      }
      bytes += Math.max(now, of ?? 0)
    }
  }
  return { bytes, seconds: seconds() }
}
