import { KnoxError, messageOf } from '../core/errors.ts'
import type { Step, World } from './step.ts'

const GO_ON = 'nothing is lost: knox setup goes on from here'

export interface Walked {
  readonly step: string
  readonly state: 'done' | 'now' | 'later' | 'to do' | 'elsewhere'
  /** what shows it, or what would be done */
  readonly evidence: string
}

const withHint = (error: unknown): unknown =>
  error instanceof KnoxError
    ? new KnoxError(error.code, error.message, [...error.hints, GO_ON], { cause: error })
    : error

const walkOne = async (step: Step, world: World): Promise<Walked> => {
  const before = await step.look(world)
  if (before !== undefined) {
    world.emit({ type: 'done', title: `${step.title}: ${before}` })
    return { step: step.title, state: 'done', evidence: before }
  }
  if ((await step.act(world)) === 'elsewhere')
    return { step: step.title, state: 'elsewhere', evidence: 'the rest is done by another user' }
  const evidence = await step.look(world)
  if (evidence !== undefined) {
    world.emit({ type: 'done', title: `${step.title}: ${evidence}` })
    return { step: step.title, state: 'now', evidence }
  }
  if (step.optional === true) return { step: step.title, state: 'later', evidence: step.plan }
  throw new KnoxError('verification', `${step.title} is not done, although it was tried`)
}

/** Walks the steps in their order. Throws what stopped it, with the hint that it goes on from there. */
export const walk = async (steps: readonly Step[], world: World): Promise<readonly Walked[]> => {
  const walked: Walked[] = []
  for (const step of steps) {
    const one = await walkOne(step, world).catch((error: unknown) => {
      throw withHint(error)
    })
    walked.push(one)
    if (one.state === 'elsewhere') break
  }
  return walked
}

/** What is done and what is left. A step that cannot be looked at before others are done is left. */
export const survey = (steps: readonly Step[], world: World): Promise<readonly Walked[]> =>
  Promise.all(
    steps.map(async (step) => {
      let trouble = ''
      const evidence = await step.look(world).catch((error: unknown) => {
        // without knox.yaml or keys there is nothing to look at yet
        if (!(error instanceof KnoxError) || error.code !== 'config') trouble = ` (${messageOf(error)})`
        return undefined
      })
      return evidence === undefined
        ? { step: step.title, state: 'to do' as const, evidence: `${step.plan}${trouble}` }
        : { step: step.title, state: 'done' as const, evidence }
    }),
  )
