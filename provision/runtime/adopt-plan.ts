import type { BoxConfig } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { isName, NAMES, printable } from '../core/names.ts'
import { Secret } from '../core/secret.ts'
import { fstabWarnings, mergeFstab, parseFstab } from './adopt-fstab.ts'
import type { Found, Machine } from './adopt-look.ts'
import {
  listenRemarks,
  mergeLoaderConf,
  mergeRcConf,
  mergeSshdConfig,
  networkOf,
  networkRemarks,
} from './adopt-merge.ts'
import { notDecided } from './adopt-undecided.ts'

/** What adopting a machine changes, worked out before anything is changed; pure. */

/** One of knox's files, as the overlay has it. */
export interface WantedFile {
  readonly path: string
  readonly mode: number
  readonly content: string | Secret | { readonly linkTo: string }
}

export interface PlannedFile extends WantedFile {
  /** undefined where nothing stands */
  readonly old: Found | undefined
}

export interface Adoption {
  /** in the order of installation: what lets home in comes last */
  readonly files: readonly PlannedFile[]
  readonly warnings: readonly string[]
}

const SSHD = '/etc/ssh/sshd_config'
/** one machine’s own: a new one would make its pools foreign to it */
const KEPT = ['/etc/hostid', '/etc/machine-id', '/entropy']
const RESOLVER = ['/etc/resolv.conf', '/etc/resolvconf.conf']

/** what knox.yaml names on the machine */
type Named = Pick<BoxConfig, 'disk' | 'pool' | 'keymap'>

const PCS = ['amd64', 'i386']

/** knox.yaml’s box, with what the machine really is: release, network card, and no Raspberry Pi if it is a PC. */
export const boxOn = (box: BoxConfig, machine: Machine): BoxConfig => {
  const release = `releng/${machine.version}`
  const card = machine.interface
  return {
    ...box,
    board: PCS.includes(machine.machine) ? 'laptop' : box.board,
    release: isName(NAMES.release, release) ? release : box.release,
    interface: card !== undefined && isName(NAMES.interface, card) ? card : box.interface,
  }
}

const textOf = (machine: Machine, path: string): string | undefined => {
  const found = machine.files.get(path)
  return found?.kind === 'file' ? found.bytes.toString('utf8') : undefined
}

const zfsMounts = ({ mounts }: Machine): Machine['mounts'] =>
  mounts.filter(({ type, point }) => type === 'zfs' && point !== '/')

/** Where ZFS keeps what knox has in memory. */
const keptOnZfs = (machine: Machine, overlay: readonly WantedFile[]): readonly string[] => {
  const fstab = overlay.find(({ path }) => path === '/etc/fstab')?.content
  const memory = parseFstab(typeof fstab === 'string' ? fstab : '').filter(({ type }) => type === 'tmpfs')
  return zfsMounts(machine)
    .filter(({ point }) => memory.some((disk) => disk.point === point))
    .map(({ point, device }) => `${point} stays on ${printable(device)}, and is no memory disk`)
}

const merged = (machine: Machine, { path, content }: WantedFile, box: Named): WantedFile['content'] => {
  if (typeof content !== 'string') return content
  const old = textOf(machine, path)
  switch (path) {
    case '/etc/rc.conf':
      return mergeRcConf(old, content, box.keymap !== undefined)
    case '/boot/loader.conf':
      return mergeLoaderConf(old, content, machine.memory)
    case '/etc/fstab':
      return mergeFstab(
        old,
        content,
        machine.root,
        zfsMounts(machine).map(({ point }) => point),
      )
    case SSHD:
      return mergeSshdConfig(old, content)
    default:
      return content
  }
}

const isSame = (content: WantedFile['content'], old: Found | undefined): boolean => {
  if (typeof content === 'string') return old?.kind === 'file' && old.bytes.equals(Buffer.from(content))
  return !(content instanceof Secret) && old?.kind === 'link' && old.to === content.linkTo
}

const warningsOf = (machine: Machine, { disk }: Named): readonly string[] => [
  ...machine.overrides.map((path) => `${printable(path)} is read too, and can win over what knox writes`),
  ...(/^\s*sshd_flags=./m.test(textOf(machine, '/etc/rc.conf') ?? '')
    ? ['sshd_flags stays in rc.conf, and can win over sshd_config']
    : []),
  ...(/^\s*Include\b/im.test(textOf(machine, SSHD) ?? '')
    ? ['the old sshd_config has an Include; what that file says is not taken over']
    : []),
  ...(machine.password === 'empty' || machine.password === 'locked'
    ? [
        `the password of root is ${machine.password}; it becomes none: * lets certificates in, and nobody else`,
      ]
    : []),
  ...networkRemarks(textOf(machine, '/etc/rc.conf')),
  ...listenRemarks(textOf(machine, SSHD)),
  ...fstabWarnings(textOf(machine, '/etc/fstab'), machine.root, disk),
]

/**
 * The files to install, each with what stands there now; those that are right already are left out, but for sshd_config,
 * which the machine-side check needs. Throws `refused` for a file that cannot be merged or is no file, and for a pool of the box's name, `busy` if an earlier run
 * is still undecided.
 */
export const planAdoption = (machine: Machine, overlay: readonly WantedFile[], box: Named): Adoption => {
  if (machine.undecided.length > 0) throw notDecided(machine.undecided)
  if (machine.pools.includes(box.pool))
    throw new KnoxError('refused', `a pool ${box.pool} is in use on the machine, and knox would export it`, [
      'nothing was changed; give the backup’s pool another name: box.pool in knox.yaml',
      `or if it is the box’s own, left open: zpool export ${box.pool} there`,
    ])
  const network = networkOf(textOf(machine, '/etc/rc.conf'))
  const keepsResolver = network.own && !network.dhcp
  const stays = ({ path }: WantedFile) =>
    (KEPT.includes(path) && machine.files.has(path)) || (keepsResolver && RESOLVER.includes(path))
  const files = overlay
    .filter((file) => !stays(file))
    .map((file) => ({ ...file, content: merged(machine, file, box), old: machine.files.get(file.path) }))
  const wrong = files.find(({ old }) => old?.kind === 'other')
  if (wrong !== undefined)
    throw new KnoxError('refused', `${wrong.path} of the machine is not a file`, ['nothing was changed'])
  const [last, others] = [
    files.filter(({ path }) => path === SSHD),
    files.filter(({ path }) => path !== SSHD),
  ]
  return {
    files: [...others, ...last],
    warnings: [...warningsOf(machine, box), ...keptOnZfs(machine, overlay)],
  }
}

/** The files of a plan that will be other than they are. */
export const changedFiles = ({ files }: Adoption): readonly PlannedFile[] =>
  files.filter(({ content, old }) => !isSame(content, old))
