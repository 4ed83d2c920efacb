import { run } from '../system/process.ts'
import { attention, broken, ok, type Check } from './finding.ts'

/** The programs that every run needs; they are looked at even without a knox.yaml. */

/** package.json: engines */
const NODE = [20, 19] as const
/** the oldest OpenSSH that knows ed25519 and certificates as the box has them */
const SSH = [6, 6] as const

const LIMIT = { timeout: 20 }

const isOlder = (version: string, [major, minor]: readonly [number, number]): boolean => {
  const [, a = '0', b = '0'] = /([0-9]+)\.([0-9]+)/.exec(version) ?? []
  return Number(a) < major || (Number(a) === major && Number(b) < minor)
}

const node: Check<undefined> = {
  name: 'node',
  look: () => {
    const { version } = process
    const old = isOlder(version, NODE)
    return Promise.resolve(
      old ? broken('platform', `node ${version} is too old`, `knox needs ${NODE.join('.')}`) : ok(version),
    )
  },
}

const zfs: Check<undefined> = {
  name: 'zfs',
  look: async () => {
    const { exitCode, stdout, stderr } = await run(['zfs', 'version'], LIMIT)
    if (exitCode === 127) return broken('platform', 'zfs is not installed here', 'knox needs ZFS at home')
    const version = stdout.split('\n')[0] ?? ''
    if (exitCode === 0 && version !== '') return ok(version)
    // FreeBSD 10 to 12 have no `zfs version`
    if (/unrecognized command/.test(stderr)) return ok('there, of the time before OpenZFS 0.8')
    return attention(
      'zfs does not say its version',
      'is the module loaded? kldload zfs (FreeBSD), modprobe zfs (Linux)',
    )
  },
}

const ssh: Check<undefined> = {
  name: 'ssh',
  look: async () => {
    const { exitCode, stderr } = await run(['ssh', '-V'], LIMIT)
    if (exitCode === 127) return broken('platform', 'ssh is not installed here', 'knox needs OpenSSH')
    const version = /OpenSSH_\S+/.exec(stderr)?.[0]
    if (version === undefined)
      return attention('ssh does not say that it is OpenSSH', 'knox is made for OpenSSH')
    return isOlder(version, SSH)
      ? broken('platform', `${version} is too old`, `knox needs ${SSH.join('.')}`)
      : ok(version)
  },
}

export const PROGRAMS: readonly Check<undefined>[] = [node, zfs, ssh]
