import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { connect, prepareBox } from '../../../provision/runtime/target.ts'
import { thrownBy, withEnv } from '../../support/expect.ts'
import { HELLO, ignore } from '../../support/fake-box.ts'
import { stubHome } from '../../support/stub-home.ts'

const NEAR = '192.0.2.1'
const FAR = '198.51.100.7:2222'
const [farHost = ''] = FAR.split(':')

const STRANGER = ['err Host key verification failed.', 'exit 255']
const NOBODY = ['err ssh: connect to host x port 22: Connection refused', 'exit 255']
const NOT_LET_IN = ['err root@x: Permission denied (publickey).', 'exit 255']
const BOX = [HELLO, 'hear bye', 'say locked']

describe('a box with two addresses', () => {
  const call = async (t: Parameters<typeof stubHome>[0], near: readonly string[], far: readonly string[]) => {
    const home = await stubHome(t, [NEAR, FAR])
    withEnv(t, { PATH: home.path })
    await home.box(near, NEAR)
    await home.box(far, farHost)
    const { session, target } = await connect(await prepareBox(home.config), ignore)
    await session.bye()
    return target.address.host
  }

  test('is found at the second, whoever else answers at the first', async (t) => {
    assert.equal(await call(t, BOX, NOBODY), NEAR)
    assert.equal(await call(t, NOBODY, BOX), farHost)
    assert.equal(await call(t, STRANGER, BOX), farHost)
  })

  const failure = async (...about: Parameters<typeof call>): Promise<KnoxError> => {
    const error = await thrownBy(() => call(...about))
    assert.ok(error instanceof KnoxError, String(error))
    return error
  }

  test('may be at the one where nobody answers: that passes, and the stranger at the other is named', async (t) => {
    for (const [near, far, where] of [
      [STRANGER, NOBODY, NEAR],
      [NOBODY, STRANGER, FAR],
    ] as const) {
      const { code, hints } = await failure(t, near, far)
      assert.equal(code, 'unreachable')
      assert.match(
        hints.at(-1) ?? '',
        new RegExp(`another machine answers at ${where}: .*take it out of box\\.addresses`),
      )
    }
  })

  test('is rejected where strangers answer at both, and where the box itself lets nobody in', async (t) => {
    const strangers = await failure(t, STRANGER, STRANGER)
    assert.equal(strangers.code, 'key-rejected')
    assert.match(strangers.hints.at(-1) ?? '', new RegExp(`at ${NEAR} and ${FAR}:`))
    const { code, message } = await failure(t, NOT_LET_IN, BOX)
    assert.deepEqual([code, /certificate/.test(message)], ['key-rejected', true])
  })
})
