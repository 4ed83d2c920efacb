import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { imageWorld, type ImageWorld } from '../../support/image-world.ts'

/** A real process that customises an image, and a real signal in the middle of it. */

const PROGRAM = resolve(import.meta.dirname, '../../support/customise.ts')

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

/** Starts it, sends the signal once a program has begun, and waits for its end. */
const stoppedIn = async (one: ImageWorld, program: string, signal: NodeJS.Signals): Promise<Ended> => {
  const yaml = join(one.dir, 'knox.yaml')
  writeFileSync(yaml, 'box:\n  addresses: [192.168.1.13]\nhome:\n  pool: wd\n')
  writeFileSync(join(one.world, 'slow'), program.replaceAll(' ', '\n'))
  const words = ['--import', 'tsx', PROGRAM, '--config', yaml, one.keys, one.image]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 30_000 })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const ended = new Promise<Ended>((done) =>
    child.on('close', (code, by) => done({ code, signal: by, stderr })),
  )
  while (!existsSync(join(one.world, 'waiting')) && child.exitCode === null) await sleep(20)
  child.kill(signal)
  return ended
}

describe('a run that is ended from outside', () => {
  for (const [signal, program] of [
    // its umount ends after the message that it was stopped
    ['SIGTERM', 'tar umount'],
    ['SIGINT', 'fsck_ufs'],
  ] as const)
    test(`by ${signal} in ${program}: nothing stays attached or mounted`, async (t) => {
      const one = await imageWorld(t)
      const { code, stderr } = await stoppedIn(one, program, signal)
      assert.equal(code, 130, stderr)
      assert.match(stderr, /knox: error: stopped/)
      assert.deepEqual(await one.leftovers(), [])
      await one.customise()
    })

  test('by SIGKILL: the next run takes down what is left, the lock too', async (t) => {
    const one = await imageWorld(t)
    const { signal } = await stoppedIn(one, 'sha256', 'SIGKILL')
    assert.equal(signal, 'SIGKILL')
    const left = (await one.leftovers()).join('\n')
    assert.match(left, /^md0\n\/dev\/md0s2a\|.*\.work\/root\|ufs\|ro\nraw image\.img\.work$/)
    // nothing of the killed run may go on in the mounted image
    await sleep(2700)
    await one.customise()
    assert.deepEqual(await one.leftovers(), [])
  })
})
