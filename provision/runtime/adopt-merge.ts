import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/** Settings of an installed machine and those of knox in one file: pure text, docs/adopt.md has the rules. */

/** all below this line is knox's, and is made anew by the next run */
export const MARK = '# --- knox: what is below was written by knox and wins over what is above'

const NAME = /^[ \t]*([A-Za-z_][\w.-]*)=/
/** one assignment and nothing else: no command, no continuation, no value that a shell would work on */
const SIMPLE =
  /^[ \t]*(?:[A-Za-z_][\w.-]*=(?:"[^"`$\\]*"|'[^']*'|[^\s"'`$;&|<>()\\#]*)[ \t]*(?:[ \t]#.*)?|#.*)?$/

const linesOf = (text: string): readonly string[] => text.replace(/\n$/, '').split('\n')

/** The name that a line of rc.conf(5) or loader.conf(5) gives a value to. */
export const assignedName = (line: string): string | undefined => NAME.exec(line)?.[1]

/** True if what follows a line is still inside of its quotes, or continues it. */
const staysOpen = (text: string): boolean => {
  let quote = ''
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at)
    if (char === '\\' && quote !== "'") at += 1
    else if (quote !== '') quote = char === quote ? '' : quote
    else if (char === '"' || char === "'" || char === '`') quote = char
    else if (char === '#' && /^$|\s/.test(text.charAt(at - 1)))
      at = text.indexOf('\n', at) === -1 ? text.length : text.indexOf('\n', at)
  }
  return quote !== '' || text.endsWith('\\')
}

/** ends or swallows what is appended */
const FINAL = /^\s*(?:exit|return|exec)\b|<</m

/**
 * Old settings with knox's after them. A line of the old text that knox's replaces is dropped if the whole text is
 * plain assignments; code is left as it stands, since the last assignment wins anyway. `keeps` says for which names the old value
 * stays. Throws `refused` for a text that would swallow what is appended.
 */
export const mergeSettings = (
  path: string,
  old: string | undefined,
  ours: string,
  keeps: (name: string) => boolean,
): string => {
  const above = linesOf(old ?? '')
  const mark = above.indexOf(MARK)
  const theirs = mark === -1 ? above : above.slice(0, mark)
  const named = (line: string) => assignedName(line) ?? ''
  const kept = linesOf(ours).filter((line) => !keeps(named(line)))
  if (old === undefined) return `${kept.join('\n')}\n`
  const text = theirs.join('\n')
  const isSimple = theirs.every((line) => SIMPLE.test(line))
  if (!isSimple && (staysOpen(text) || FINAL.test(text)))
    throw new KnoxError('refused', `${path} of the machine is a program that knox cannot add to`, [
      'nothing was changed; put its settings in one line each and try again',
    ])
  const names = new Set(kept.flatMap((line) => assignedName(line) ?? []))
  const rest = isSimple ? theirs.filter((line) => !names.has(named(line))) : [...theirs]
  while (rest.at(-1) === '') rest.pop()
  return [...rest, MARK, ...kept, ''].join('\n')
}

const NETWORK =
  /^(?:ifconfig_|ipv4_addrs_|ipv6_|ip6addrctl_|defaultrouter|static_routes|route_|wlans_|create_args_|vlans_|cloned_interfaces|network_interfaces|rtsold_|dhclient_|background_dhclient|synchronous_dhclient|wpa_supplicant_)/
const CARD = /^[ \t]*ifconfig_(?!lo[0-9])\w+=/

/** ifconfig_NAME of rc.conf(5), but for the lines that add to it */
const MAIN = /^[ \t]*ifconfig_(?!lo[0-9])(\w+)=["']?([^"']*)/
const MORE = /_(?:ipv6|alias(?:es|[0-9]+)|name|descr)$/
const FIXED = /\b[0-9]+(?:\.[0-9]+){3}\b|\binet6 [0-9a-f]*:/i

/** What rc.conf(5) says of the network that only the house of today answers, for warnings. */
export const networkRemarks = (rcConf: string | undefined): readonly string[] => {
  const cards = new Map(
    linesOf(rcConf ?? '').flatMap((line): [string, string][] => {
      const [, name, value] = MAIN.exec(line) ?? []
      return name === undefined || value === undefined || MORE.test(name) ? [] : [[name, value]]
    }),
  )
  const asking = [...cards].filter(([, value]) => /DHCP/i.test(value))
  const fixed = [...cards].filter(([, value]) => !/DHCP/i.test(value) && FIXED.test(value))
  const joined = [...asking, ...fixed].map(([name]) => name)
  return [
    ...fixed.map(
      ([name]) =>
        `rc.conf gives ${name} a fixed address, which may not be there in another house: DHCP asks for one`,
    ),
    ...(joined.length > 0 && joined.every((name) => name.startsWith('wlan'))
      ? [
          'rc.conf sets up Wi-Fi only, whose network is not there in another house: set up a card with a cable too',
        ]
      : []),
  ]
}

/** How an installed machine gets its network: by its own rc.conf(5), and by DHCP. */
export const networkOf = (rcConf: string | undefined): { readonly own: boolean; readonly dhcp: boolean } => {
  const above = linesOf(rcConf ?? '')
  const cards = above.filter((line) => CARD.test(line))
  return { own: cards.length > 0, dhcp: cards.some((line) => /DHCP/i.test(line)) }
}

/**
 * rc.conf(5): the network that connects the machine now stays, and so does ZFS if the system stands on it. Its keymap
 * stays unless knox.yaml names one (`hasKeymap`).
 */
export const mergeRcConf = (old: string | undefined, ours: string, hasKeymap = true): string => {
  const theirs = old?.split(MARK)[0] ?? ''
  const { own } = networkOf(theirs)
  const keepsKeymap = !hasKeymap && linesOf(theirs).some((line) => assignedName(line) === 'keymap')
  const keeps = (name: string) => (own && NETWORK.test(name)) || (keepsKeymap && name === 'keymap')
  return mergeSettings('/etc/rc.conf', old, ours, keeps)
}

const MEMORY_LIMIT = /^(?:vm\.kmem_size|vm\.kmem_size_max|vfs\.zfs\.arc_max)$/
const SMALL = 1024 ** 3

/** loader.conf(5): the limits for small memories (bytes) are for them only. */
export const mergeLoaderConf = (old: string | undefined, ours: string, memory: number): string =>
  mergeSettings('/boot/loader.conf', old, ours, (name) => memory >= SMALL && MEMORY_LIMIT.test(name))

const LISTEN = /^[ \t]*(Port|ListenAddress|AddressFamily)[ \t=]+([A-Za-z0-9.:[\]%*_-]+)[ \t]*$/i

/** The lines of a sshd_config(5) that say where sshd listens, as [word, value]. */
const listensOf = (old: string | undefined): readonly (readonly [string, string])[] => {
  const all = linesOf(old ?? '')
  const match = all.findIndex((line) => /^\s*Match\b/i.test(line))
  return all.slice(0, match === -1 ? undefined : match).flatMap((line): [string, string][] => {
    const [, word, value] = LISTEN.exec(line) ?? []
    return word === undefined || value === undefined ? [] : [[word, value]]
  })
}

const EVERYWHERE = /^(?:\*|0\.0\.0\.0|::|\[::\])(?::[0-9]+)?$/

/** Where sshd listens that is one address of the house of today, for warnings. */
export const listenRemarks = (sshdConfig: string | undefined): readonly string[] =>
  listensOf(sshdConfig)
    .filter(([word, value]) => word.toLowerCase() === 'listenaddress' && !EVERYWHERE.test(value))
    .map(([, value]) => `sshd_config listens at ${value}, an address that may not be there in another house`)

/** sshd_config(5): knox's, but where sshd listens stays as it is, since that is where home gets in. */
export const mergeSshdConfig = (old: string | undefined, ours: string): string => {
  const listens = listensOf(old).map((words) => words.join(' '))
  if (listens.length === 0) return ours
  const [head = '', ...rest] = ours.split('\n')
  return [head, '', '# where sshd listened before', ...new Set(listens), ...rest].join('\n')
}

/** For messages: a line of a foreign file. */
export const shownLine = (line: string): string => line.split('\t').map(printable).join('\t')
