import { join } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES, LOGINS } from '../core/keys.ts'
import { formatAddress, parseAddress, type Address } from '../core/names.ts'
import { noKeys } from '../keys/missing-keys.ts'
import { homeFolder } from '../system/config-file.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { openChannel } from '../system/process.ts'
import { isOtherMachine, knownHostsText, sshArgv, sshConfigText, type SshTarget } from '../tools/ssh.ts'
import { startSession, type Session } from './session.ts'

const writeIfChanged = async (path: string, text: string): Promise<void> => {
  if ((await readTextIfAny(path)) !== text) await writeFileAtomic(path, text, { replace: true })
}

export interface Box {
  readonly folder: string
  readonly name: string
  readonly addresses: readonly Address[]
}

/** Brings knox's own ssh_config and known_hosts up to date. Throws `config` if the keys are not there. */
export const prepareBox = async (config: Config): Promise<Box> => {
  const folder = homeFolder(config)
  const hostKey = await readTextIfAny(join(folder, `${KEY_FILES.hostKey}.pub`))
  if (hostKey === undefined) throw noKeys(folder)
  const { name } = config.box
  await writeIfChanged(join(folder, KEY_FILES.sshConfig), sshConfigText(folder, name, LOGINS))
  await writeIfChanged(join(folder, KEY_FILES.knownHosts), knownHostsText(name, hostKey))
  const addresses = config.box.addresses.flatMap((text) => parseAddress(text) ?? [])
  return { folder, name, addresses }
}

export const noAddress = (): KnoxError =>
  new KnoxError('config', 'knox.yaml names no address of the box', [
    'knox discover finds it on your network; box.addresses takes it',
  ])

/**
 * Does work at the first address where the box proves itself: nobody there, or another machine, is no reason not to look at the next.
 * Throws `unreachable` if the box may still be at one of them, `key-rejected` if other machines answer at all, and what else work throws.
 */
export const atBox = async <T>(
  { folder, name, addresses }: Box,
  emit: Emit,
  work: (target: SshTarget) => Promise<T>,
): Promise<T> => {
  let silence: KnoxError | undefined
  let rejection: KnoxError | undefined
  const others: string[] = []
  for (const address of addresses) {
    try {
      return await work({ folder, boxName: name, address })
    } catch (error) {
      if (!(error instanceof KnoxError)) throw error
      if (isOtherMachine(error)) {
        rejection = error
        others.push(formatAddress(address))
      } else if (error.code === 'unreachable') silence = error
      else throw error
      if (address !== addresses.at(-1))
        emit({ type: 'note', text: `${address.host} port ${address.port}: ${messageOf(error)}` })
    }
  }
  const { code, message, hints } = silence ?? rejection ?? noAddress()
  const way = `another machine answers at ${others.join(' and ')}: if the box is no longer there, take it out of box.addresses`
  throw new KnoxError(code, message, others.length === 0 ? hints : [...hints, way])
}

export interface Connection {
  readonly session: Session
  readonly target: SshTarget
}

/** Opens the session at the box's first address where it answers. Throws what `atBox` and `startSession` throw. */
export const connect = (box: Box, emit: Emit): Promise<Connection> =>
  atBox(box, emit, async (target) => {
    const argv = sshArgv(target, 'knox-send')
    emit({ type: 'command', argv, where: 'home' })
    return { session: await startSession(openChannel(argv), box.name), target }
  })
