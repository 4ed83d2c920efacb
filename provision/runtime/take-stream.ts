import type { Emit } from '../core/events.ts'
import { failureOf, type Place } from '../system/runner.ts'
import { receiveArgv, type ReceiveOptions } from '../tools/zfs-receive.ts'
import { resumeArgv, sendArgv } from '../tools/zfs-send.ts'
import type { Send } from './plan.ts'
import { pour, receiverFailure } from './pour.ts'
import { LIMITS } from './session.ts'
import { sendFailure } from './session-failures.ts'
import { trackProgress } from './stream-progress.ts'

/**
 * One stream from the box into a dataset at home, joined by the kernel. Returns the bytes that zfs send counted.
 * Throws `connection-lost`, also if nothing moved for `stalled` seconds, `send-failed` if the box could not send it, and `no-space`
 * or `receive-failed` if home could not take it.
 */
export const takeStream = async (
  place: Place,
  send: Send,
  options: ReceiveOptions,
  emit: Emit,
  stalled = LIMITS.stalled,
): Promise<number> => {
  let bytes = 0
  const started = Date.now()
  const argv = send.kind === 'resume' ? resumeArgv(send.token) : sendArgv(send.range)
  const into = receiveArgv(send.dataset, options)
  emit({ type: 'command', argv, where: place.name })
  emit({ type: 'command', argv: into, where: 'home' })
  const progress = trackProgress((now) => {
    bytes = now.bytes
    const seconds = (Date.now() - started) / 1000
    const of = send.kind === 'resume' ? send.bytes : undefined
    emit({ type: 'progress', dataset: send.dataset, bytes, of, totalBytes: bytes, totalOf: of, seconds })
  })
  const { sent, received, isRefused } = await pour(place.wrap(argv), into, {
    onStderr: progress.read,
    idleSeconds: progress.idleSeconds,
    stalled,
    what: `while it sent ${send.range.dataset}`,
  })
  if (sent.exitCode !== 0 && !isRefused) throw sendFailure(sent, send.range.dataset, `on ${place.name}`)
  if (received.exitCode !== 0)
    throw receiverFailure(received, 'receive-failed', `zfs receive failed at home for ${send.dataset}`, [
      ...failureOf(received, []).hints,
      'what arrived before is kept; run it again, it goes on from there',
    ])
  return bytes
}
