import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import {
  changedFiles,
  fetchTree,
  isOfFolder,
  treeRevision,
  type Tree,
} from '../../../../provision/image/build/sources.ts'
import { exists } from '../../../../provision/system/files.ts'
import { HERE, runnerAt } from '../../../../provision/system/runner.ts'
import { knoxError, tempFolder, withEnv, writeProgram } from '../../../support/expect.ts'
import { STAND_INS } from '../../../support/image-world.ts'

/** Sources that are a folder of the owner's, of any kind. */

const runner = runnerAt(HERE, () => undefined)

/** A tree from a folder with these files; revision and changes of what was fetched. */
const given = async (t: TestContext, files: Readonly<Record<string, string>>) => {
  const dir = await tempFolder(t)
  withEnv(t, { KNOX_WORLD: dir, PATH: `${STAND_INS}:${process.env['PATH'] ?? ''}` })
  const url = join(dir, 'given')
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(url, path, '..'), { recursive: true })
    await writeFile(join(url, path), text)
  }
  const tree: Tree = {
    ...{ name: 'crochet', url, kind: 'git', branch: 'master', revision: undefined, folder: join(dir, 'got') },
  }
  return { dir, url, tree, revision: (of = tree) => runner.read(treeRevision(of)) }
}

const git = (folder: string, ...words: readonly string[]): string =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.net', ...words], {
    ...{ cwd: folder, encoding: 'utf8' },
  }).trim()

describe('a folder as source', () => {
  test('may be a crochet without git', async (t) => {
    const { tree, revision } = await given(t, { 'crochet.sh': 'echo' })
    await runner.act(fetchTree(tree))
    assert.ok(isOfFolder((await revision()) ?? ''))
    assert.equal(await readFile(join(tree.folder, 'crochet.sh'), 'utf8'), 'echo')
  })

  test('may be a working copy of svn: what svn has in it is neither copied nor counted', async (t) => {
    const { url, tree, revision } = await given(t, { 'sys/conf/newvers.sh': 'x', '.svn/wc.db': 'a database' })
    await runner.act(fetchTree(tree))
    const before = await revision()
    assert.ok(before !== undefined && !(await exists(join(tree.folder, '.svn'))))
    assert.deepEqual(await runner.read(changedFiles(tree)), [])
    await appendFile(join(url, '.svn/wc.db'), 'svn status')
    assert.equal(await revision(), before)
    await appendFile(join(url, 'sys/conf/newvers.sh'), 'mine')
    assert.equal(await revision(), undefined)
  })

  test('may be a bare repository', async (t) => {
    const { dir, url, tree, revision } = await given(t, { 'crochet.sh': 'echo' })
    git(url, 'init', '-q', '-b', 'master', '.')
    git(url, 'add', '-A')
    git(url, 'commit', '-q', '-m', 'all')
    const head = git(url, 'rev-parse', 'HEAD')
    git(dir, 'clone', '-q', '--bare', url, 'bare.git')
    const bare = { ...tree, url: join(dir, 'bare.git') }
    await runner.act(fetchTree(bare))
    assert.equal(await revision(bare), head)
  })

  test('that is another user’s repository is explained', async (t) => {
    const { dir, tree } = await given(t, { '.git/HEAD': '' })
    await writeProgram(
      dir,
      'git',
      `echo "fatal: detected dubious ownership in repository at '/x/.git'" >&2; exit 128`,
    )
    withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
    await assert.rejects(runner.act(fetchTree(tree)), knoxError('config', /another user[^]*safe\.directory/))
  })
})

describe('a fetch that is cut off', () => {
  for (const text of [
    'error: RPC failed; curl 18 transfer closed with outstanding read data remaining',
    'fatal: early EOF',
    'fatal: the remote end hung up unexpectedly',
    'fetch-pack: unexpected disconnect while reading sideband packet',
    'svn: E120106: ra_serf: The server sent a truncated HTTP response body.',
  ])
    test(`is gone on with: ${text}`, async (t) => {
      const { dir, tree } = await given(t, {})
      await writeProgram(dir, 'git', `[ "$1" = init ] || { echo "${text}" >&2; exit 128; }; mkdir -p .git`)
      withEnv(t, { PATH: `${dir}:${process.env['PATH'] ?? ''}` })
      await assert.rejects(
        runner.act(fetchTree({ ...tree, url: 'https://x/y.git' })),
        knoxError('unreachable', /cannot be fetched[^]*run it again/),
      )
    })
})
