import type { Change, Read, Runner } from '../core/command.ts'

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

/** Runs one command of a step. */
export const perform = async (runner: Runner, command: Change | Read<unknown>): Promise<void> => {
  if (command.effect === 'change') await runner.act(command)
  else await runner.read(command)
}

/** Every command of the steps, in order. */
export const commandsOf = (steps: readonly Step[]): readonly (Change | Read<unknown>)[] =>
  steps.flatMap(({ commands }) => commands)
