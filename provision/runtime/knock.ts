import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES } from '../core/keys.ts'
import { formatAddress, type Address } from '../core/names.ts'
import { readTextIfAny, withTempDir } from '../system/files.ts'
import { run } from '../system/process.ts'
import { isOnion, longestLook, shownKeyArgv } from '../tools/ssh.ts'
import { isBox } from './discover.ts'
import type { DiskState } from './session.ts'
import { connect, type Box } from './target.ts'

export interface Answer {
  readonly address: Address
  readonly disk: DiskState
}

const fingerprintOf = (line: string): string | undefined => {
  const blob = /\b(?:ssh-[a-z0-9]+|ecdsa-[a-z0-9-]+) ([A-Za-z0-9+/=]{16,})/.exec(line)?.[1]
  if (blob === undefined) return undefined
  const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64')
  return `SHA256:${hash.replace(/=+$/, '')}`
}

/** The fingerprints that a machine shows; not proved, only for a message. */
const shownBy = (address: Address): Promise<readonly string[]> =>
  withTempDir(async (dir) => {
    const knownHosts = join(dir, KEY_FILES.knownHosts)
    await run(shownKeyArgv(address, knownHosts), { timeout: longestLook(address) })
    const lines = ((await readTextIfAny(knownHosts)) ?? '').split('\n')
    return [...new Set(lines.flatMap((line) => fingerprintOf(line) ?? []))]
  })

/**
 * The error for an address where ssh met another host key than the box's, or none that was proved: `key-rejected` with both
 * fingerprints. A machine that shows the box's own key is the box, which does not answer as it should, or poses as it: `unreachable`.
 */
const otherMachine = async (box: Box, address: Address, theirs: readonly string[]): Promise<KnoxError> => {
  const ours = fingerprintOf(await readFile(join(box.folder, `${KEY_FILES.hostKey}.pub`), 'utf8'))
  if (ours !== undefined && theirs.includes(ours))
    return new KnoxError(
      'unreachable',
      `the box’s host key is shown at ${formatAddress(address)}, but it was not proved`,
      [
        'try again: a box that is busy ends connections early',
        'nothing was sent there, and knox.yaml was not changed',
      ],
    )
  return new KnoxError('key-rejected', `another machine than the box answers at ${formatAddress(address)}`, [
    `its host key is ${theirs.length === 0 ? 'unknown' : theirs.join(' or ')}`,
    `the box’s is ${ours ?? 'unknown'}`,
    'has the box another address now? knox discover --write finds it',
    'shall that machine become the box? knox adopt makes it so',
  ])
}

/** The error for an address where the box did not prove itself: nobody there (`unreachable`), or another machine. */
export const notTheBox = async (box: Box, address: Address): Promise<KnoxError> => {
  const theirs = await shownBy(address)
  return theirs.length > 0
    ? otherMachine(box, address, theirs)
    : new KnoxError('unreachable', `the box does not answer at ${formatAddress(address)}`, [
        isOnion(address)
          ? 'is it there, and does Tor run here, at 127.0.0.1:9050? knox.yaml was not changed'
          : 'is it there, and is the port forwarded to it? knox.yaml was not changed',
      ])
}

/**
 * Asks the box whether it lives: the first address where it says hello; its disk stays as it is. Undefined if nobody answers.
 * Throws `key-rejected` with both fingerprints if only somebody else does, and what the session throws if the box itself refuses.
 */
export const knock = async (box: Box, emit: Emit): Promise<Answer | undefined> => {
  let stranger: Address | undefined
  for (const address of box.addresses)
    try {
      const { session } = await connect({ ...box, addresses: [address] }, emit)
      await session.bye()
      return { address, disk: session.disk }
    } catch (error) {
      if (!(error instanceof KnoxError)) throw error
      if (error.code === 'unreachable') continue
      if (error.code !== 'key-rejected' || (await isBox(box, address))) throw error
      stranger ??= address
    }
  if (stranger !== undefined) throw await otherMachine(box, stranger, await shownBy(stranger))
  return undefined
}
