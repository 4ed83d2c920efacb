import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { KnoxError, type ErrorCode } from '../../../provision/core/errors.ts'
import { Secret } from '../../../provision/core/secret.ts'

/** What the tests of provision/keys share. */

export const PASSPHRASE = 'correct horse battery staple'
export const passphrase = new Secret('passphrase', PASSPHRASE)
export const NOW = new Date('2026-11-23T12:00:00.000Z')

/** Why ssh-keygen cannot be the judge here, or false if it can. */
export const noSshKeygen = spawnSync('ssh-keygen', ['-?']).error === undefined ? false : 'no ssh-keygen here'

/** A private folder that is gone after the test. */
export const tempFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end. */
export const run = (argv: readonly string[], stdin: string | Buffer = ''): Promise<Ran> =>
  new Promise((resolve, reject) => {
    const [file = '', ...args] = argv
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: 60_000 })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.stdin.on('error', () => undefined).end(stdin)
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })

/** ssh-keygen with a file of this content as its last word. */
export const sshKeygen = async (
  t: TestContext,
  content: string | Buffer,
  ...words: string[]
): Promise<Ran> => {
  const path = join(await tempFolder(t), 'key')
  await writeFile(path, content, { mode: 0o600 })
  return run(['ssh-keygen', ...words, '-f', path])
}

/** For assert.throws and assert.rejects: a KnoxError of this code, whose sentence matches. */
export const knoxError =
  (code: ErrorCode, pattern = /./) =>
  (error: unknown): boolean =>
    error instanceof KnoxError && error.code === code && pattern.test(error.message)

/** Runs work; true if it returns or throws a KnoxError. Anything else that is thrown goes on. */
export const isTame = (work: () => unknown): boolean => {
  try {
    work()
  } catch (error) {
    if (!(error instanceof KnoxError)) throw error
  }
  return true
}
