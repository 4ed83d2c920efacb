import { isIPv4, isIPv6 } from 'node:net'
import { KnoxError } from './errors.ts'

/**
 * What a name may be. Whatever passes here is safe as a word of a command line and as a path component;
 * knox.yaml, the box's answers and the command line are all checked against this one file.
 */
export interface NameRule {
  readonly what: string
  readonly pattern: RegExp
  readonly expected: string
}

export const NAMES = {
  box: {
    what: 'box name',
    pattern: /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
    expected: 'lower-case letters, digits and dashes, as in a host name',
  },
  /** zpool(8): begins with a letter, not a reserved word; blanks are legal in ZFS but refused here */
  pool: {
    what: 'pool name',
    pattern: /^(?!(?:mirror|raidz|draid|spare|log)|c[0-9])[A-Za-z][A-Za-z0-9_.:-]{0,127}$/,
    expected: 'a letter, then letters, digits and any of _ . : -',
  },
  /** zfs(8): letters, digits, blanks and - _ . : in components separated by slashes, 255 bytes in all */
  dataset: {
    what: 'dataset name',
    pattern:
      /^(?=.{1,255}$)[A-Za-z](?!.*(?:\/\/|\/$|\/\.{1,2}(?:\/|$)))[A-Za-z0-9_.: -]*(?:\/[A-Za-z0-9_.: -]+)*$/,
    expected: 'a dataset as `zfs list` prints it, without @ or #',
  },
  /** the part after the @ */
  snapshot: {
    what: 'snapshot name',
    pattern: /^(?!-|\.{1,2}$)[A-Za-z0-9_.: %-]{1,255}$/,
    expected: 'letters, digits, blanks and any of - _ . : %, not beginning with -',
  },
  disk: {
    what: 'disk name',
    pattern: /^(?:[a-z]{2,8}[0-9]{1,3}|diskid\/DISK-[A-Za-z0-9._-]{1,64})$/,
    expected: 'a FreeBSD disk such as da0, without /dev/',
  },
  interface: {
    what: 'network interface',
    pattern: /^[a-z]{2,12}[0-9]{1,4}$/,
    expected: 'a FreeBSD interface such as ue0 or em0',
  },
  keymap: {
    what: 'keymap',
    pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/,
    expected: 'a keymap such as uk or us',
  },
  release: {
    what: 'release',
    pattern: /^releng\/[0-9]{1,2}\.[0-9]{1,2}$/,
    expected: 'a FreeBSD branch such as releng/10.2',
  },
} as const satisfies Record<string, NameRule>

/** True if the name keeps to the rule. */
export const isName = (rule: NameRule, name: string): boolean => rule.pattern.test(name)

/** The name itself; throws a usage error that says what was expected. */
export const checkName = (rule: NameRule, name: string): string => {
  if (isName(rule, name)) return name
  throw new KnoxError('usage', `${JSON.stringify(name)} is not a ${rule.what}`, [`expected ${rule.expected}`])
}

export interface Address {
  readonly host: string
  readonly port: number
}

/** a name whose last part is no number, so that no half of an IPv4 address is taken for one */
const HOST =
  /^(?=.{1,253}$)(?!(?:.*\.)?[0-9]+\.?$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$/
/** an interface of this machine in a link-local address */
const ZONE = /%[a-z0-9]{1,15}$/

const isHost = (text: string): boolean => isIPv4(text) || HOST.test(text)
const isAddress6 = (text: string): boolean =>
  isIPv6(text.replace(ZONE, '')) && !text.replace(ZONE, '').includes('%')

/** `host`, `host:port`, `2001:db8::1` or `[2001:db8::1]:port`; undefined if it is none of these. */
export const parseAddress = (text: string): Address | undefined => {
  if (isAddress6(text)) return { host: text, port: 22 }
  const bracketed = /^\[([^\]]+)\](?::([0-9]{1,5}))?$/.exec(text)
  const [, host = '', digits = '22'] = bracketed ?? /^([^:]+)(?::([0-9]{1,5}))?$/.exec(text) ?? []
  const port = Number(digits)
  const known = bracketed === null ? isHost(host) : isAddress6(host)
  return known && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** `user@host`, or with any address that parseAddress takes; undefined if it is none. */
export const parseLogin = (text: string): (Address & { readonly user: string }) | undefined => {
  const [, user, rest] = /^([a-z_][a-z0-9_-]{0,31})@(.+)$/.exec(text) ?? []
  const address = parseAddress(rest ?? '')
  return user === undefined || address === undefined ? undefined : { user, ...address }
}

/** As knox.yaml takes it: port 22 is not said. */
export const formatAddress = ({ host, port }: Address): string => {
  if (port === 22) return host
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Replaces control characters and those that turn a line's direction, so that text from elsewhere cannot forge a terminal. */
export const printable = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '?')
