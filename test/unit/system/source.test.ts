import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSource } from '../../../provision/system/process.ts'
import { isAlive } from '../../support/expect.ts'

const MIB = 1024 * 1024

describe('a program whose output is wanted as bytes', () => {
  test('gives every byte, then how it ended', async () => {
    const source = openSource([
      'sh',
      '-c',
      `head -c ${3 * MIB} /dev/zero | tr '\\000' '\\377'; echo bad >&2; exit 3`,
    ])
    let bytes = 0
    for await (const piece of source.output) {
      assert.ok(piece.every((byte) => byte === 0xff))
      bytes += piece.length
    }
    assert.equal(bytes, 3 * MIB)
    const { exitCode, signal, stderr } = await source.ended
    assert.deepEqual([exitCode, signal, stderr], [3, null, 'bad\n'])
  })

  test('is held back while nobody reads', async () => {
    const source = openSource(['head', '-c', '100000000', '/dev/zero'])
    const state = { isOver: false }
    void source.ended.then(() => (state.isOver = true))
    await sleep(500)
    assert.equal(state.isOver, false)
    source.kill()
    assert.notEqual((await source.ended).exitCode, 0)
  })

  test('is ended by kill, though its output was not read to the end', async () => {
    const source = openSource(['sh', '-c', 'echo $$; exec sleep 60'])
    let pid = 0
    for await (const piece of source.output) {
      pid = Number(piece.toString())
      break
    }
    source.kill()
    assert.equal((await source.ended).signal, 'SIGTERM')
    assert.ok(pid > 1 && !isAlive(pid))
  })

  test('that is not there is exit 127', async () => {
    const source = openSource(['knox-nonesuch'])
    for await (const piece of source.output) assert.fail(piece.toString())
    assert.equal((await source.ended).exitCode, 127)
  })
})
