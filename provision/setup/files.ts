import { statSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, resolve } from 'node:path'

/** File names as people type them at a question. Made absolute, so that none of them is taken for an option. */

/** `~/x` as a shell would read it. */
export const typedPath = (text: string): string => resolve(text.replace(/^~(?=\/|$)/, homedir()))

const kindOf = (path: string): 'file' | 'folder' | undefined => {
  const found = statSync(path, { throwIfNoEntry: false })
  return found === undefined ? undefined : found.isDirectory() ? 'folder' : 'file'
}

const safely =
  (problem: (path: string) => string | undefined) =>
  (text: string): string | undefined => {
    if (text === '') return 'needs a file name'
    try {
      return problem(typedPath(text))
    } catch (error) {
      return `cannot be looked at: ${error instanceof Error ? error.message : 'unknown why'}`
    }
  }

/** What is wrong with the name of a file that shall be made. */
export const problemOfNewFile = safely((path) => {
  if (kindOf(dirname(path)) !== 'folder') return `there is no folder ${dirname(path)}`
  const kind = kindOf(path)
  if (kind === 'folder') return 'is a folder: a file name in it is needed'
  return kind === 'file' ? 'is there already' : undefined
})

/** What is wrong with the name of a file that shall be read. */
export const problemOfFile = safely((path) =>
  kindOf(path) === 'file' ? undefined : `there is no file ${path}`,
)
