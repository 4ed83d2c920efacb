import { join } from 'node:path'
import type { Config } from '../core/config.ts'
import { KnoxError, messageOf } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { KEY_FILES, LOGINS } from '../core/keys.ts'
import { parseAddress, type Address } from '../core/names.ts'
import { homeFolder } from '../system/config-file.ts'
import { readTextIfAny, writeFileAtomic } from '../system/files.ts'
import { openChannel } from '../system/process.ts'
import { knownHostsText, sshArgv, sshConfigText, type SshTarget } from '../tools/ssh.ts'
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
  if (hostKey === undefined)
    throw new KnoxError('config', `there are no keys in ${folder}`, ['knox keys init makes them'])
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

export interface Connection {
  readonly session: Session
  readonly target: SshTarget
}

/** Opens the session at the first address that answers. Throws what the last one said if none does. */
export const connect = async (box: Box, emit: Emit): Promise<Connection> => {
  let failure: unknown = noAddress()
  for (const address of box.addresses) {
    const target: SshTarget = { folder: box.folder, boxName: box.name, address }
    const argv = sshArgv(target, 'knox-send')
    emit({ type: 'command', argv, where: 'home' })
    try {
      return { session: await startSession(openChannel(argv), box.name), target }
    } catch (error) {
      if (!(error instanceof KnoxError) || error.code !== 'unreachable') throw error
      failure = error
      if (address !== box.addresses.at(-1))
        emit({ type: 'note', text: `${address.host} port ${address.port}: ${messageOf(error)}` })
    }
  }
  throw failure
}
