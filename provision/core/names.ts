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
    pattern: /^[A-Za-z0-9_.: %-]{1,255}$/,
    expected: 'letters, digits, blanks and any of - _ . :',
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

const HOST =
  /^(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?$/
const IPV6 =
  /^(?=[0-9a-fA-F:.]{2,45}(?:%|$))[0-9a-fA-F]{0,4}(?::[0-9a-fA-F.]{0,15}){2,8}(?:%[a-z0-9]{1,15})?$/

/** `host`, `host:port`, `2001:db8::1` or `[2001:db8::1]:port`; undefined if it is none of these. */
export const parseAddress = (text: string): Address | undefined => {
  const bracketed = /^\[([^\]]+)\](?::([0-9]{1,5}))?$/.exec(text)
  const plain =
    bracketed ?? (IPV6.test(text) ? [text, text, undefined] : /^([^:]+)(?::([0-9]{1,5}))?$/.exec(text))
  const host = plain?.[1]
  if (host === undefined) return undefined
  if (!(bracketed !== null || IPV6.test(text) ? IPV6.test(host) : HOST.test(host))) return undefined
  const port = plain?.[2] === undefined ? 22 : Number(plain[2])
  return port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** Replaces control characters, so that text from elsewhere cannot forge a terminal. */
export const printable = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, '?')
