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

/** An onion service is reached through Tor's own port; nc(1) of FreeBSD's base and OpenBSD's on Debian take these words. */
const proxyWords = ({ host }: Address): readonly string[] =>
  host.toLowerCase().endsWith('.onion') ? ['-o', 'ProxyCommand=nc -X 5 -x 127.0.0.1:9050 %h %p'] : []

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
  ...(options.words ?? []),
  ...proxyWords(target.address),
  '-o',
  `HostName=${target.address.host}`,
  '-p',
  target.address.port.toString(),
  login,
  ...(options.command === undefined ? [] : ['--', options.command]),
]

const OTHER_HOST_KEY = 'whoever answers at this address has another host key than the box'

/** True for the error of an address where another machine answers: nothing of ours was sent there. */
export const isOtherMachine = ({ message }: KnoxError): boolean => message === OTHER_HOST_KEY

/** What ssh's own words on stderr mean. */
export const SSH_FAILURES: readonly StderrRule[] = [
  {
    pattern:
      /REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed|No ED25519 host key is known|no matching host key type/,
    code: 'key-rejected',
    message: OTHER_HOST_KEY,
    hints: ['is it another machine? knox keys list shows the fingerprint the box must have'],
  },
  {
    pattern: /Permission denied|Too many authentication failures/,
    code: 'key-rejected',
    message: 'the box does not accept the certificate',
    hints: ['is it expired? knox keys list shows it, knox keys renew makes new ones'],
  },
  {
    pattern:
      /Connection refused|timed out|No route to host|Network is unreachable|Could not resolve|Name or service|Host is down|Connection closed by|Connection reset|kex_exchange_identification|not responding|Broken pipe|servname/i,
    code: 'unreachable',
    message: 'the box does not answer',
    hints: ['is it switched on, and reachable from here?'],
  },
]
