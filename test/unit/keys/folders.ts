import { mkdtempSync } from 'node:fs'
import { chmod, cp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, type TestContext } from 'node:test'
import { initKeys, type ListedKey } from '../../../provision/keys/key-folder.ts'
import { NOW, passphrase, tempFolder } from './helpers.ts'

/** Key folders for the tests. */

export const options = { boxName: 'knox', passphrase, force: false, now: NOW }

/** Two key folders made once, since the passphrase costs time; each test gets a copy. */
const made = mkdtempSync(join(tmpdir(), 'knox-test-'))
before(() => Promise.all(['one', 'other'].map((name) => initKeys(join(made, name), options))))
after(() => rm(made, { recursive: true, force: true }))

export const init = async (t: TestContext, which: 'one' | 'other' = 'one'): Promise<string> => {
  const folder = join(await tempFolder(t), 'keys')
  await cp(join(made, which), folder, { recursive: true })
  await chmod(folder, 0o700)
  return folder
}

/** Name and content of every file below a folder. */
export const contentOf = async (folder: string): Promise<Record<string, string>> => {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  const content = files.sort().map(async (file) => [file, (await readFile(file)).toString('hex')] as const)
  return Object.fromEntries(await Promise.all(content))
}

export const find = (keys: readonly ListedKey[], file: string): ListedKey =>
  keys.find((key) => key.file === file)!

export const problemsIn = (keys: readonly ListedKey[]) =>
  Object.fromEntries(
    keys.filter(({ problems }) => problems.length > 0).map(({ file, problems }) => [file, problems]),
  )
