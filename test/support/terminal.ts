import { EXIT_CODES } from '../../provision/core/errors.ts'
import type { Command, Knox } from '../../provision/cli/command.ts'
import { defineCommand } from '../../provision/cli/command.ts'
import { main } from '../../provision/cli/main.ts'
import type { Terminal } from '../../provision/cli/terminal.ts'

/** What `knox` would print, and its exit code, without a process of its own. */
export interface Shown {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export const show = async (commands: readonly Command[], ...words: readonly string[]): Promise<Shown> => {
  let [stdout, stderr] = ['', '']
  const terminal: Terminal = {
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    interactive: false,
    onStop: () => () => undefined,
  }
  const code = await main(commands, words, terminal)
  return { code, stdout, stderr }
}

/** A verb `try` that does what it is told. */
export const verb = (run: (knox: Knox) => unknown, more: Partial<Command> = {}): Command =>
  defineCommand({
    name: 'try',
    summary: 'tries something',
    run: async (knox) => {
      const ended = await run(knox)
      return typeof ended === 'string' && ended in EXIT_CODES ? (ended as keyof typeof EXIT_CODES) : undefined
    },
    ...more,
  })
