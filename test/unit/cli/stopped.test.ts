import assert from 'node:assert/strict'
import { test } from 'node:test'
import { main } from '../../../provision/cli/main.ts'
import { verb } from '../../support/terminal.ts'

/** In a file of its own: a process that was told to stop starts nothing more. */

test('a stopped run says what is true of the verb that runs now, and not of the one before', async () => {
  let stop = (): void => undefined
  let stderr = ''
  const terminal = {
    stdout: () => undefined,
    stderr: (text: string) => void (stderr += text),
    interactive: false,
    onStop: (call: () => void) => {
      stop = call
      return () => undefined
    },
  }
  const one = verb((knox) => knox.whenStopped(['nothing was changed']), { name: 'one' })
  const two = verb(
    (knox) => {
      knox.whenStopped(['two takes it back'])
      stop()
      return new Promise(() => undefined)
    },
    { name: 'two' },
  )
  const all = verb(
    async (knox) => {
      knox.whenStopped(['all goes on from here'])
      await knox.run(['one'])
      await knox.run(['two'])
    },
    { name: 'all' },
  )
  assert.equal(await main([one, two, all], ['all'], terminal), 130)
  assert.equal(
    stderr,
    'knox: error: stopped\nknox: hint: two takes it back\nknox: hint: all goes on from here\n',
  )
})
