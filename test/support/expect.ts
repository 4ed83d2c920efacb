import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { KnoxError, type ErrorCode } from '../../provision/core/errors.ts'

/** What the tests of the core, the system and the runtime share. */

/** For assert.throws and assert.rejects: a KnoxError of this code, whose sentence or a hint matches. */
export const knoxError =
  (code: ErrorCode, pattern = /./) =>
  (error: unknown): boolean => {
    if (
      error instanceof KnoxError &&
      error.code === code &&
      pattern.test([error.message, ...error.hints].join('\n'))
    )
      return true
    throw error
  }

/** What work throws; fails if it throws nothing. */
export const thrownBy = async (work: () => unknown): Promise<unknown> => {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** A private folder that is gone after the test. */
export const tempFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Writes a program; returns its path. */
export const writeProgram = async (folder: string, name: string, text: string): Promise<string> => {
  const path = join(folder, name)
  await writeFile(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 })
  return path
}

/** Puts variables into the environment of this process until the test ends; undefined removes one. */
export const withEnv = (t: TestContext, variables: Readonly<Record<string, string | undefined>>): void => {
  for (const [name, value] of Object.entries(variables)) {
    const before = process.env[name]
    if (value === undefined) Reflect.deleteProperty(process.env, name)
    else process.env[name] = value
    t.after(() => {
      if (before === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = before
    })
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
