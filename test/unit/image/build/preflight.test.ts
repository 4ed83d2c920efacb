import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { lookAtHost, problemsOf, releaseWarning } from '../../../../provision/image/build/preflight.ts'
import type { Tree } from '../../../../provision/image/build/sources.ts'
import { workspaceOf } from '../../../../provision/image/build/workspace.ts'
import { tempFolder } from '../../../support/expect.ts'

describe('what a build needs of its host', () => {
  const treeOf = (kind: 'git' | 'svn', url: string): Tree => ({
    ...{ name: 'freebsd', url, kind, branch: '', revision: undefined, folder: '/srv/knox/src' },
  })
  const hostOf = (said: string) => lookAtHost(workspaceOf('/srv/knox'), []).parse(said)
  const problems = (said: string, kind: 'git' | 'svn', beside = 0) =>
    problemsOf(hostOf(said), { trees: [treeOf(kind, 'https://x')], bytes: 4 * 2 ** 30, beside })

  test('a host that lacks everything is told everything at once, with the command that mends it', () => {
    const found = problems('system FreeBSD\nuid 1001\nroom 1000\nfetch yes\n', 'svn')
    const mends = [/run as root/, /pkg install git/, /pkg install python/, /pkg install dtc/]
    for (const mend of [...mends, /pkg install subversion/, /u-boot\.img is missing/, /15\.0 GiB.*--work/])
      assert.equal(found.filter((line) => mend.test(line)).length, 1, String(mend))
    assert.equal(found.length, 7)
    const whole = 'uid 0\nhas git\nhas python\nhas dtc\nhas u-boot\n'
    assert.equal(problems(`${whole}room ${16 * 2 ** 20}\n`, 'svn').length, 1)
    assert.deepEqual(problems(`${whole}room ${16 * 2 ** 20}\n`, 'git'), [])
  })

  test('what an earlier run has built needs no room any more', () => {
    const host = 'uid 0\nhas git\nhas python\nhas dtc\nhas u-boot\n'
    const [room, used] = [5 * 2 ** 20, 11 * 2 ** 20]
    assert.deepEqual(problems(`${host}room ${room}\nused ${used}\n`, 'git'), [])
    assert.equal(problems(`${host}room ${room}\nused 0\n`, 'git').length, 1)
    // a copy of the image is made each time
    assert.equal(problems(`${host}room 1000\nused ${20 * 2 ** 20}\n`, 'git').length, 1)
  })

  test('room for what --out takes beside it is counted too', () => {
    const host = `uid 0\nhas python\nhas dtc\nhas u-boot\nroom ${16 * 2 ** 20}\n`
    assert.deepEqual(problems(host, 'git'), [])
    assert.match(problems(host, 'git', 4 * 2 ** 30).join(), /19\.0 GiB are needed/)
  })

  test('a 10.x, which has no packages any more, is told where they are; folders as sources need no git', () => {
    const host = `release 10.4-RELEASE\nuid 0\nhas dtc\nhas u-boot\nroom ${16 * 2 ** 20}\n`
    assert.match(
      problems(`${host}has python\nfetch yes\n`, 'git').join('\n'),
      /git is missing[^]*docs\/image\.md/,
    )
    assert.deepEqual(problems(`${host}has python\n`, 'git'), [])
    assert.match(problems(host, 'git').join('\n'), /python is missing[^]*nothing for FreeBSD 10/)
  })

  const look = (folder: string, ...urls: readonly string[]) => {
    const { argv, parse } = lookAtHost(
      workspaceOf(folder),
      urls.map((url) => treeOf('git', url)),
    )
    return parse(spawnSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' }).stdout).lines
  }

  test('a work folder that others can write to, or that is none, is seen', async (t) => {
    const dir = await tempFolder(t)
    const [mine, open, link] = ['mine', 'open', 'link'].map((name) => join(dir, name))
    await mkdir(mine ?? '', { mode: 0o755 })
    await mkdir(open ?? '')
    await chmod(open ?? '', 0o757)
    await symlink(mine ?? '', link ?? '')
    assert.equal(look(mine ?? '').get('open'), undefined)
    assert.equal(look(join(dir, 'none')).get('open'), undefined)
    assert.equal(look(open ?? '').get('open'), 'yes')
    assert.equal(look(link ?? '').get('open'), 'no-folder')
    assert.match(problems('uid 0\nopen yes\n', 'git').join(), /only root can write to/)
  })

  test('which sources are fetched by git is seen', async (t) => {
    const dir = await tempFolder(t)
    const [plain, tree, bare] = ['plain', 'tree', 'bare'].map((name) => join(dir, name))
    await mkdir(plain ?? '')
    await mkdir(join(tree ?? '', '.git'), { recursive: true })
    await mkdir(bare ?? '')
    await writeFile(join(bare ?? '', 'HEAD'), '')
    assert.equal(look(dir, plain ?? '').get('fetch'), undefined)
    for (const url of [tree ?? '', bare ?? '', 'https://x/src.git'])
      assert.equal(look(dir, url).get('fetch'), 'yes')
  })

  test('the work folder is known by its real name, blanks and all', () => {
    assert.equal(hostOf('folder /usr/my home/x\n').lines.get('folder'), '/usr/my home/x')
  })

  test('a build host that is no FreeBSD 10 is warned of', () => {
    assert.equal(releaseWarning('10.4-RELEASE'), undefined)
    for (const release of ['13.2-RELEASE', '11.0-STABLE', 'unknown'])
      assert.match(releaseWarning(release) ?? '', /not known/)
  })
})
