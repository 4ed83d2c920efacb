import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Question } from '../../provision/core/owner.ts'
import type { World } from '../../provision/setup/step.ts'
import { ignore } from './fake-box.ts'
import { tempFolder } from './expect.ts'

/** A step's world without a terminal: its questions, and the verbs that it ran. */

/** Whoever is asked answers with the first of these that the question takes. */
export const worldOf = async (
  t: TestContext,
  answers: readonly string[],
  said: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
) => {
  const dir = await tempFolder(t)
  const configPath = join(dir, 'knox.yaml')
  await writeFile(
    configPath,
    `box:\n  addresses: [192.168.1.13]\nhome:\n  pool: tank\n  folder: ${dir}/keys\n`,
  )
  const ran: (readonly string[])[] = []
  const problems: string[] = []
  const ask = (question: Question): Promise<string> => {
    for (const answer of answers) {
      const problem = question.problem?.(answer)
      if (problem === undefined) return Promise.resolve(answer)
      problems.push(problem)
    }
    return Promise.reject(new Error('no answer was taken'))
  }
  const world: World = {
    owner: {
      args: { flag: (name) => flags.includes(name), text: (name) => said[name] },
      ask,
      choose: () => Promise.reject(new Error('nothing to choose')),
      run: (words) => {
        ran.push(words)
        return Promise.resolve()
      },
    },
    emit: ignore,
    configPath,
  }
  return { dir, world, ran, problems }
}
