import assert from 'node:assert/strict'
import { test } from 'node:test'
import { builderPlace } from '../../../../provision/image/build/builder.ts'
import { failureOf } from '../../../../provision/system/runner.ts'

test('a machine that builds is told as itself, never as the box', () => {
  const { failures } = builderPlace('root@builder.lan:2222')
  const told = (stderr: string) => {
    const { code, message, hints } = failureOf(
      { exitCode: 255, signal: null, argv: ['ssh'], stderr },
      failures,
    )
    const text = [message, ...hints].join('\n')
    assert.match(text, /^root@builder\.lan:2222 |^the host key of root@builder\.lan:2222 /)
    assert.doesNotMatch(text, /the box|knox keys/)
    return { code, text }
  }
  const denied = told('root@builder.lan: Permission denied (publickey).')
  assert.equal(denied.code, 'key-rejected')
  assert.match(denied.text, /ssh -p 2222 root@builder\.lan true, by hand/)
  assert.equal(told('Host key verification failed.').code, 'key-rejected')
  assert.equal(told('ssh: connect to host builder.lan port 2222: Connection refused').code, 'unreachable')
})
