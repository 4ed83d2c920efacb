import type { StderrRule } from '../core/command.ts'
import type { KnoxError } from '../core/errors.ts'
import type { Login } from '../core/keys.ts'
import { KEY_FILES } from '../core/keys.ts'
import type { Address } from '../core/names.ts'

/** ssh(1) with knox's own configuration file; the owner's ~/.ssh, agent and shared connections play no part. */

export interface SshTarget {
  /** the key folder, absolute */
  readonly folder: string
  readonly boxName: string
  readonly address: Address
}

const CONNECT_SECONDS = 20

/**
 * The text of knox's ssh_config: how each login authenticates, and how a dead peer is noticed (60 s).
 * ControlPath none, IdentitiesOnly and IdentityAgent none: otherwise a shared connection or the agent's order of keys
 * could hand the disk's key to a root shell. `knownHosts` is that file, by default the one in the folder. No option that OpenSSH 6.6 clients do not know stands outside IgnoreUnknown.
 */
export const sshConfigText = (
  folder: string,
  boxName: string,
  logins: readonly Login[],
  knownHosts = `${folder}/${KEY_FILES.knownHosts}`,
): string => {
  const path = (file: string) => `"${folder}/${file}"`
  return [
    '# written by knox; changes are lost',
    'IgnoreUnknown IdentityAgent,CertificateFile,WarnWeakCrypto',
    '',
    ...logins.flatMap((login) => [
      `Host ${login}`,
      `  IdentityFile ${path(login)}`,
      `  CertificateFile ${path(`${login}-cert.pub`)}`,
      '',
    ]),
    'Host *',
    '  User root',
    `  HostKeyAlias ${boxName}`,
    `  UserKnownHostsFile "${knownHosts}"`,
    '  GlobalKnownHostsFile /dev/null',
    '  StrictHostKeyChecking yes',
    '  HostKeyAlgorithms ssh-ed25519',
    '  UpdateHostKeys no',
    '  CheckHostIP no',
    '  IdentitiesOnly yes',
    '  IdentityAgent none',
    '  BatchMode yes',
    '  PasswordAuthentication no',
    '  ControlMaster no',
    '  ControlPath none',
    '  ForwardAgent no',
    '  ForwardX11 no',
    '  ClearAllForwardings yes',
    '  PermitLocalCommand no',
    '  TCPKeepAlive yes',
    '  ServerAliveInterval 15',
    '  ServerAliveCountMax 4',
    `  ConnectTimeout ${CONNECT_SECONDS}`,
    '  LogLevel ERROR',
    '',
  ].join('\n')
}

/** One line of known_hosts: the box's one host key, whatever address it is reached at. */
export const knownHostsText = (boxName: string, publicKey: string): string =>
  `${boxName} ${publicKey.trim().split(' ').slice(0, 2).join(' ')}\n`

/** True for an address that only Tor leads to; its name is nobody else's business, a name server's neither. */
export const isOnion = ({ host }: Address): boolean => /\.onion\.?$/i.test(host)

/** Tor first finds the service and makes a way to it, which takes more than ConnectTimeout is elsewhere. */
const TOR_SECONDS = 60

/** An onion service is reached through Tor's own port; nc(1) of FreeBSD's base and OpenBSD's on Debian take these words. */
const proxyWords = (address: Address): readonly string[] =>
  isOnion(address)
    ? ['-o', `ConnectTimeout=${TOR_SECONDS}`, '-o', 'ProxyCommand=nc -X 5 -x 127.0.0.1:9050 %h %p']
    : []

/** seconds for a look at who is there */
const LOOK_SECONDS = 10

/** The words of a look at who is there: it is short, and offers no login. */
export const LOOK_WORDS: readonly string[] = [
  ...['-o', 'PubkeyAuthentication=no'],
  ...['-o', `ConnectTimeout=${LOOK_SECONDS}`],
]

/** seconds after which a look has failed: the handshake of a Raspberry Pi takes two or three, those of a busy one more */
export const longestLook = (address: Address): number => (isOnion(address) ? TOR_SECONDS : LOOK_SECONDS) + 20

/** ssh as one of knox's logins. `agent` is the socket of a private agent, `words` are further options. */
export const sshArgv = (
  target: SshTarget,
  login: Login,
  options: { readonly command?: string; readonly agent?: string; readonly words?: readonly string[] } = {},
): readonly string[] => [
  'ssh',
  '-F',
  `${target.folder}/${KEY_FILES.sshConfig}`,
  '-T',
  ...(options.agent === undefined ? [] : ['-o', `IdentityAgent=${options.agent}`]),
  ...proxyWords(target.address),
  ...(options.words ?? []),
  '-o',
  // ssh expands % here; a link-local address has one
  `HostName=${target.address.host.replaceAll('%', '%%')}`,
  '-p',
  target.address.port.toString(),
  login,
  ...(options.command === undefined ? [] : ['--', options.command]),
]

/**
 * ssh that takes whatever host key it is shown and writes it to a known_hosts of its own, then goes. The key is not proved.
 * ssh-keyscan(1) would do it too, but knows no way through Tor.
 */
export const shownKeyArgv = (address: Address, knownHosts: string): readonly string[] => [
  ...['ssh', '-F', '/dev/null', '-T'],
  ...proxyWords(address),
  ...LOOK_WORDS,
  ...[
    'BatchMode=yes',
    'PreferredAuthentications=none',
    'StrictHostKeyChecking=no',
    `UserKnownHostsFile="${knownHosts}"`,
    'GlobalKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
  ].flatMap((setting) => ['-o', setting]),
  ...['-l', 'root', '-p', address.port.toString(), address.host, 'true'],
]

const OTHER_HOST_KEY = 'whoever answers at this address has another host key than the box'

/** True for the error of an address where another machine answers: nothing of ours was sent there. */
export const isOtherMachine = ({ message }: KnoxError): boolean => message === OTHER_HOST_KEY

/** What a failed ssh is told as: another host key, a login that is not accepted, no answer. */
export type SshWords = Readonly<
  Record<'otherKey' | 'denied' | 'silent', { readonly message: string; readonly hint: string }>
>

/** How ssh(1) says that it came to nothing, in the words of whom it called. */
export const sshFailures = ({ otherKey, denied, silent }: SshWords): readonly StderrRule[] => [
  {
    pattern:
      /REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No ED25519 host key is known|no matching host key type/,
    code: 'key-rejected',
    message: otherKey.message,
    hints: [otherKey.hint],
  },
  {
    pattern: /Permission denied|Too many authentication failures/,
    code: 'key-rejected',
    message: denied.message,
    hints: [denied.hint],
  },
  {
    pattern:
      /Connection refused|timed out|No route to host|Network is unreachable|Could not resolve|Name or service|Host is down|Connection closed by|Connection reset|kex_exchange_identification|not responding|Broken pipe|servname/i,
    code: 'unreachable',
    message: silent.message,
    hints: [silent.hint],
  },
]

/** What ssh's own words on stderr mean. */
export const SSH_FAILURES = sshFailures({
  otherKey: {
    message: OTHER_HOST_KEY,
    hint: 'is it another machine? knox keys list shows the fingerprint the box must have',
  },
  denied: {
    message: 'the box does not accept the certificate',
    hint: 'is it expired? knox keys list shows it, knox keys renew makes new ones',
  },
  silent: { message: 'the box does not answer', hint: 'is it switched on, and reachable from here?' },
})
