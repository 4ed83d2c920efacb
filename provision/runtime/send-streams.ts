import type { Emit } from '../core/events.ts'
import { HERE, runnerAt } from '../system/runner.ts'
import { estimateSend, resumeArgv, sendArgv } from '../tools/zfs-send.ts'
import type { Plan, Send } from './plan.ts'
import type { Session } from './session.ts'

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

/** Does the steps of a plan in their order, `sizes` as `estimateSends` gives them. Returns what was sent; throws as the session does. */
export const sendAll = async (
  session: Session,
  plan: Plan,
  sizes: readonly (number | undefined)[],
  emit: Emit,
): Promise<{ bytes: number; seconds: number }> => {
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
      const of = sizes[sends.indexOf(step)]
      let now = 0
      const argv = step.kind === 'resume' ? resumeArgv(step.token) : sendArgv(step.range)
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
