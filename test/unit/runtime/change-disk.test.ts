import assert from 'node:assert/strict'
import { describe, test, type TestContext } from 'node:test'
import type { Read, Runner } from '../../../provision/core/command.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { BOX_SCRIPT } from '../../../provision/core/keys.ts'
import { boxScriptOf, overlayOf } from '../../../provision/image/overlay.ts'
import { changeDisk, mustBeDetached, replaceScript } from '../../../provision/runtime/change-disk.ts'
import { prepareBox } from '../../../provision/runtime/target.ts'
import { boxScriptSum, canWriteScript, sha256Of } from '../../../provision/tools/box-script.ts'
import { geliProviders } from '../../../provision/tools/geli.ts'
import { knoxError, withEnv } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { stubHome } from '../../support/stub-home.ts'
import { KEYS } from '../image/helpers.ts'

/** A root shell on a box: `writable` is told of its root before and after, `sum` of the script that is there in the end. */
const shell = (options: { attached?: string; writable?: string[]; sum?: string } = {}) => {
  const done: string[] = []
  const writable = [...(options.writable ?? ['no', 'no'])]
  const stdoutOf = (command: unknown): string => {
    if (command === geliProviders) return options.attached ?? ''
    if (command === canWriteScript) return writable.shift() ?? ''
    if (command === boxScriptSum) return `${options.sum ?? sha256Of('new')}\n`
    return ''
  }
  const runner: Runner = {
    read: <T>(command: Read<T>): Promise<T> => Promise.resolve(command.parse(stdoutOf(command))),
    act: ({ argv }) => {
      done.push(argv.slice(0, 2).join(' '))
      return Promise.resolve()
    },
  }
  return { done, runner }
}

describe('another disk', () => {
  test('is not told to a box where the old one is attached, since nothing would lock it then', async () => {
    await mustBeDetached(shell({ attached: 'da1.eli  ACTIVE  da1\n' }).runner, 'da0')
    await assert.rejects(
      mustBeDetached(shell({ attached: 'da1.eli  ACTIVE  da1\nda0.eli  ACTIVE  da0\n' }).runner, 'da0'),
      knoxError('refused', /da0 is still attached/),
    )
  })
})

describe('a script that is replaced', () => {
  const warningsOf = async (writable: string[]): Promise<readonly string[]> => {
    const warnings: string[] = []
    await replaceScript(shell({ writable }).runner, 'new', (event) => {
      if (event.type === 'warning') warnings.push(event.text)
    })
    return warnings
  }

  test('must be there afterwards', async () => {
    const { runner, done } = shell({ sum: sha256Of('old') })
    await assert.rejects(replaceScript(runner, 'new', ignore), knoxError('verification'))
    assert.deepEqual(done, ['/bin/sh -c', '/bin/sh -s'])
    await assert.rejects(replaceScript(shell({ sum: '' }).runner, 'new', ignore), knoxError('verification'))
  })

  test('leaves a root as writable as it was, or says so', async () => {
    assert.deepEqual(await warningsOf(['no', 'no']), [])
    assert.deepEqual(await warningsOf(['yes', 'yes']), [])
    assert.match(
      (await warningsOf(['no', 'yes'])).join(),
      /^the root of the box is still mounted for writing/,
    )
  })

  test('is the one that the overlay has', async () => {
    const { box } = parseConfig('box:\n  addresses: [a.b]\n  disk: da1\n  pool: bk\nhome:\n  pool: wd\n', 'f')
    const text = await boxScriptOf(box)
    assert.match(text, /^disk='da1'$/m)
    assert.equal((await overlayOf(box, KEYS)).find(({ path }) => path === BOX_SCRIPT)?.content, text)
  })
})

describe('a box that gets another disk', () => {
  const change = async (t: TestContext, script: readonly string[]) => {
    const home = await stubHome(t)
    withEnv(t, { PATH: home.path })
    await home.box(script)
    const box = await prepareBox(home.config)
    return changeDisk(box, shell().runner, 'da1', 'new', ignore)
  }
  const bye = ['hear bye', 'say locked']

  test('must say that it is there and locked', (t) => change(t, ['say knox 1 knox locked', ...bye]))

  test('and is not believed otherwise', async (t) => {
    for (const [script, code] of [
      [['say knox 1 knox missing', ...bye], 'disk'],
      [['say knox 1 knox unlocked', ...bye], 'left-unlocked'],
      [['err ssh: connect to host 192.0.2.1 port 22: Connection refused', 'exit 255'], 'unreachable'],
      [['say failed busy another session is under way', 'exit 75'], 'busy'],
    ] as const)
      await assert.rejects(change(t, script), knoxError(code))
  })
})
