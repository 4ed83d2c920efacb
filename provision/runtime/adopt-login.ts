import { join } from 'node:path'
import type { Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { parseAddress, type Address } from '../core/names.ts'
import { quoteForLogin } from '../core/quote.ts'
import { withTempDir } from '../system/files.ts'
import { openChannel, run, runOnTerminal } from '../system/process.ts'
import { failureOf, runnerAt, type Place } from '../system/runner.ts'
import { SSH_FAILURES } from '../tools/ssh.ts'

/** The owner's own way into a machine: his ssh, his configuration, his agent, his password at ssh's own question. */

export interface OwnLogin {
  /** as typed: a host or a name of his ssh_config, with a port if he wants */
  readonly address: string
  /** root, or one who may use sudo or doas without a password */
  readonly user: string
  /** his ssh_config, if it is not the usual one */
  readonly config: string | undefined
}

/** seconds the connection outlives a knox that has died */
const PERSIST = 60
const ANSWER = 60

/** What is to be typed at the machine itself, where ssh lets nobody in. */
const AT_THE_CONSOLE = [
  'a fresh FreeBSD lets root in at its console only; log in there as root and type these two lines:',
  "echo 'PermitRootLogin yes' >> /etc/ssh/sshd_config",
  'service sshd onerestart',
  'then try again; knox replaces that sshd_config',
]

const USER = /^[A-Za-z_][A-Za-z0-9._-]{0,31}$/

/** ssh with the owner's settings and these words; throws `usage` for an address or user that is none. */
export const ownSsh = (login: OwnLogin, words: readonly string[]): readonly string[] => {
  const { address, user, config } = login
  const parsed = parseAddress(address)
  if (parsed === undefined)
    throw new KnoxError('usage', `${JSON.stringify(address)} is not an address`, [
      'expected host, host:port or [ipv6]:port',
    ])
  if (!USER.test(user)) throw new KnoxError('usage', `${JSON.stringify(user)} is not a user’s name`)
  const hasPort = parsed.port !== 22 || /[^:]:22$|\]:22$/.test(address)
  return [
    ...['ssh', '-T', '-x', '-a'],
    ...(config === undefined ? [] : ['-F', config]),
    ...['-o', 'ClearAllForwardings=yes', '-o', 'ServerAliveInterval=15', '-o', 'ConnectTimeout=20'],
    ...(hasPort ? ['-p', parsed.port.toString()] : []),
    ...words,
    ...['-l', user, parsed.host],
  ]
}

/** Where the owner's settings lead (`ssh -G`), for knox's own connections; undefined behind a jump host or proxy. */
export const ownAddress = async (login: OwnLogin): Promise<Address | undefined> => {
  const { stdout } = await run(ownSsh(login, ['-G']), { timeout: 20 })
  const value = (word: string) => new RegExp(`^${word} (.+)$`, 'm').exec(stdout)?.[1]
  if ([value('proxyjump'), value('proxycommand')].some((way) => way !== undefined && way !== 'none'))
    return undefined
  const host = value('hostname') ?? ''
  return parseAddress(`${host.includes(':') ? `[${host}]` : host}:${value('port') ?? '22'}`)
}

/** How this user becomes root; throws `refused` with what to do if he cannot. */
const becoming = async (login: OwnLogin, place: Place): Promise<readonly string[]> => {
  if (login.user === 'root') return []
  for (const way of ['sudo', 'doas']) {
    const { exitCode } = await run(place.wrap([way, '-n', 'true']), { timeout: ANSWER })
    if (exitCode === 0) return [way, '-n']
  }
  throw new KnoxError('refused', `${login.user} cannot become root without a password, by sudo or doas`, [
    'nothing was changed',
    ...AT_THE_CONSOLE,
  ])
}

/**
 * Runs work with the rights of root over one connection that stays open to its end; ssh asks for a password on the terminal
 * by itself. It ends a minute after knox if knox is killed. Throws `unreachable` if ssh does not get in.
 */
export const withOwnLogin = <T>(
  login: OwnLogin,
  emit: Emit,
  work: (runner: Runner) => Promise<T>,
): Promise<T> =>
  withTempDir(async (dir) => {
    const shared = ['-o', `ControlPath=${join(dir, 'own')}`]
    const first = ownSsh(login, [
      ...shared,
      '-n',
      '-o',
      'ControlMaster=yes',
      '-o',
      `ControlPersist=${PERSIST}`,
    ])
    emit({ type: 'command', argv: first, where: 'home' })
    const exitCode = await runOnTerminal([...first, '--', 'true'])
    if (exitCode !== 0)
      throw new KnoxError('unreachable', `ssh does not get in at ${login.address} as ${login.user}`, [
        'what ssh said stands above; nothing was changed',
        'is it the box already? then it lets knox’s certificates in, and nothing else',
        ...(login.user === 'root' ? ['--user NAME logs in as another, who may use sudo or doas'] : []),
        ...AT_THE_CONSOLE,
      ])
    const place: Place = {
      name: login.address,
      // never a connection of its own: that would ask for the password again
      wrap: (argv) => [
        ...ownSsh(login, [...shared, '-o', 'ControlMaster=no', '-o', 'BatchMode=yes']),
        '--',
        quoteForLogin(argv),
      ],
      failures: SSH_FAILURES,
    }
    // holds the connection while the owner reads and thinks
    const holder = openChannel(place.wrap(['/bin/cat']))
    try {
      const become = await becoming(login, place)
      return await work(runnerAt({ ...place, wrap: (argv) => place.wrap([...become, ...argv]) }, emit, 300))
    } finally {
      holder.kill()
      await holder.ended
      await run(ownSsh(login, [...shared, '-O', 'exit']), { timeout: 10 }).catch(() => undefined)
    }
  })

/**
 * True if the machine refuses the owner's plain keys now, though it shows knox's host key; false if one gets in. Throws what ssh
 * said where it got no answer to that, such as `unreachable`.
 */
export const refusesPlainKeys = async (
  login: OwnLogin,
  box: { readonly folder: string; readonly name: string },
): Promise<boolean> => {
  const words = [
    ...['-n', '-o', 'BatchMode=yes', '-o', 'ControlMaster=no', '-o', 'ControlPath=none'],
    ...['-o', `UserKnownHostsFile="${box.folder}/known_hosts"`, '-o', `HostKeyAlias=${box.name}`],
    ...['-o', 'HostKeyAlgorithms=ssh-ed25519', '-o', 'StrictHostKeyChecking=yes'],
  ]
  const tried = await run([...ownSsh({ ...login, user: 'root' }, words), '--', 'true'], { timeout: ANSWER })
  // 255 is ssh's own, null a try that took too long
  if (tried.exitCode !== 255 && tried.exitCode !== null) return false
  if (/Permission denied|Too many authentication failures/.test(tried.stderr)) return true
  throw failureOf(tried, SSH_FAILURES)
}
