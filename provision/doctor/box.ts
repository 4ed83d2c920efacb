import { copyFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { KnoxError, messageOf } from '../core/errors.ts'
import { KEY_FILES, LOGINS } from '../core/keys.ts'
import { formatAddress, parseAddress, type Address } from '../core/names.ts'
import { wayToKeys } from '../keys/missing-keys.ts'
import { isBox } from '../runtime/discover.ts'
import { knock, notTheBox } from '../runtime/knock.ts'
import { noAddress, type Box } from '../runtime/target.ts'
import { readTextIfAny, withTempDir } from '../system/files.ts'
import { knownHostsText, sshConfigText } from '../tools/ssh.ts'
import { attention, broken, brokenBy, ok, type Check, type Patient } from './finding.ts'

/** The way to the box, and the box. */

export interface Caller extends Patient {
  readonly box: Box
}

/**
 * Gives work the box with an ssh configuration of its own, in a temporary folder: the key folder stays as it is. Throws `config`
 * if there are no keys.
 */
export const withBox = async <T>(patient: Patient, work: (caller: Caller) => Promise<T>): Promise<T> => {
  const { config, folder } = patient
  const { name } = config.box
  const hostKey = await readTextIfAny(join(folder, `${KEY_FILES.hostKey}.pub`))
  if (hostKey === undefined)
    throw new KnoxError('config', 'without keys the box cannot be called', wayToKeys())
  return withTempDir(async (dir) => {
    const knownHosts = join(dir, KEY_FILES.knownHosts)
    await writeFile(join(dir, KEY_FILES.sshConfig), sshConfigText(folder, name, LOGINS, knownHosts))
    await writeFile(knownHosts, knownHostsText(name, hostKey))
    await copyFile(join(folder, `${KEY_FILES.hostKey}.pub`), join(dir, `${KEY_FILES.hostKey}.pub`))
    const addresses = config.box.addresses.flatMap((text) => parseAddress(text) ?? [])
    return work({ ...patient, box: { folder: dir, name, addresses } })
  })
}

const addressCheck = (address: Address): Check<Caller> => ({
  name: formatAddress(address),
  look: async ({ box }) => {
    if (await isBox(box, address)) return ok('the box proves itself by its host key')
    const error = await notTheBox(box, address)
    // another address may do
    return error.code === 'unreachable'
      ? attention('nobody answers', 'is the box there, and the port forwarded to it?')
      : brokenBy(error)
  },
})

const login: Check<Caller> = {
  name: 'login',
  look: async ({ box, emit }) => {
    if (box.addresses.length === 0) throw noAddress()
    try {
      const answer = await knock(box, emit)
      if (answer === undefined)
        return broken(
          'unreachable',
          'the box does not answer at any address',
          'is it switched on, and reachable from here?',
        )
      const { address, disk } = answer
      const who = `the box ${box.name} takes the certificate at ${formatAddress(address)}, speaks protocol 1`
      if (disk === 'missing')
        return broken(
          'disk',
          `${who}, and misses its disk`,
          'is it plugged in and powered? one that has another name by now: knox prepare-disk, which touches nothing on it',
        )
      return disk === 'locked'
        ? ok(`${who}, its disk is locked`)
        : attention(
            `${who}; its disk had been left unlocked`,
            'it is locked now; see /var/log/messages there',
          )
    } catch (error) {
      if (error instanceof KnoxError && error.code === 'busy')
        return attention(messageOf(error), 'is a backup under way? then look again later')
      throw error
    }
  },
}

/** Each address, then a session that only says hello and bye. */
export const boxChecks = (caller: Caller): readonly Check<Caller>[] => [
  ...caller.box.addresses.map(addressCheck),
  login,
]
