import { setTimeout as sleep } from 'node:timers/promises'
import type { Change, Read, Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'

/** Work as a list: what a dry run prints is what a real run does, in the same order, reading included. */

export interface Step {
  /** for people */
  readonly title: string
  readonly commands: readonly (Change | Read<unknown>)[]
}

/** A command that reads, with a look at what it reads: `check` throws where it is not as it should be. */
export const checked = <T>(command: Read<T>, check: (value: T) => void): Read<undefined> => ({
  ...command,
  parse: (stdout) => {
    check(command.parse(stdout))
    return undefined
  },
})

const ATTEMPTS = 4
const BETWEEN = 300

/** Does it again, a few times, if it fails: what is still open somewhere lets go a moment later. */
export const insist = async (
  work: (attempt: number) => Promise<void>,
  mayPass: (error: KnoxError) => boolean = () => true,
): Promise<void> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await work(attempt)
      return
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof KnoxError) || !mayPass(error)) throw error
      await sleep(BETWEEN * attempt)
    }
  }
}

/** Runs one command of a step; what is busy gets its moment. */
export const perform = async (runner: Runner, command: Change | Read<unknown>): Promise<void> => {
  if (command.effect === 'read') await runner.read(command)
  else
    await insist(
      () => runner.act(command),
      ({ code }) => code === 'busy',
    )
}

/** Every command of the steps, in order. */
export const commandsOf = (steps: readonly Step[]): readonly (Change | Read<unknown>)[] =>
  steps.flatMap(({ commands }) => commands)
