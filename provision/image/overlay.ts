import type { BoxConfig } from '../core/config.ts'
import { BOX_SCRIPT } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import type { BoxKeys } from './box-keys.ts'
import { releaseOf } from './releases.ts'
import { readTemplates, renderTemplate, type Templates, type TemplateValues } from './render.ts'

export { readBoxKeys, type BoxKeys } from './box-keys.ts'

/** root:wheel */
const OWNER = { uid: 0, gid: 0 } as const

/** One file of the box. */
export interface OverlayFile {
  /** absolute on the box */
  readonly path: string
  readonly mode: number
  readonly owner: typeof OWNER
  readonly content: string | Secret | { readonly linkTo: string }
}

const valuesOf = (box: BoxConfig, keys: BoxKeys): TemplateValues => {
  const { network } = box
  const release = releaseOf(box.release)
  const bootSlice = /^(.*s)2a$/.exec(box.root)?.[1] // crochet: s1 is the FAT slice, s2a the root
  return {
    name: box.name,
    keymap: box.keymap ?? 'us',
    interface: box.interface,
    nameserver: box.nameserver,
    root: box.root,
    swap: box.swap,
    disk: box.disk,
    pool: box.pool,
    laptop: box.board === 'laptop',
    readOnlyRoot: box.board === 'rpi-b',
    bootSlice: box.board === 'rpi-b' && bootSlice !== undefined && `${bootSlice}1`,
    dhcp: network === 'dhcp',
    ...(network === 'dhcp' ? {} : { address: network.address, gateway: network.gateway }),
    hostUuid: keys.hostUuid,
    machineId: keys.hostUuid.replaceAll('-', ''),
    openssh: release.openssh,
    otherHostKeys: release.otherHostKeys,
    keyExchanges: release.keyExchanges.join(','),
    sshdSettings: release.sshdSettings,
    kmemSize: release.memory[box.board].kmemSize,
    arcMax: release.memory[box.board].arcMax,
  }
}

/**
 * Every file that makes a FreeBSD system the box of this configuration, sorted by path.
 * Pure: the same input gives the same files. Throws `config` for a value that must not stand in them, a template that
 * asks for a value there is not, or a release before 10.2.
 */
export const overlayFrom = (templates: Templates, box: BoxConfig, keys: BoxKeys): readonly OverlayFile[] => {
  const values = valuesOf(box, keys)
  const file = (path: string, content: OverlayFile['content'], mode = 0o644): OverlayFile => ({
    path,
    mode,
    owner: OWNER,
    content,
  })
  const rendered = (path: string, template: string, mode?: number) =>
    file(path, renderTemplate(templates, template, values), mode)

  const resolver =
    box.network === 'dhcp'
      ? [
          rendered('/etc/resolvconf.conf', 'resolvconf.conf'),
          file('/etc/resolv.conf', { linkTo: '/var/run/resolv.conf' }, 0o777),
        ]
      : [rendered('/etc/resolv.conf', 'resolv.conf')]
  // on a root that can be written FreeBSD keeps a better one by itself
  const entropy = values['readOnlyRoot'] === true ? [file('/entropy', keys.entropy, 0o600)] : []
  const files = [
    ...entropy,
    ...resolver,
    rendered('/boot/loader.conf', 'loader.conf'),
    rendered('/etc/crontab', 'crontab'),
    rendered('/etc/fstab', 'fstab'),
    rendered('/etc/hostid', 'hostid'),
    rendered('/etc/machine-id', 'machine-id'),
    rendered('/etc/rc.conf', 'rc.conf'),
    rendered('/etc/ssh/sshd_config', 'sshd_config'),
    rendered('/etc/ttys', 'ttys'),
    file('/etc/ssh/knox-ca', keys.authority),
    file('/etc/ssh/ssh_host_ed25519_key', keys.hostKey, 0o600),
    file('/etc/ssh/ssh_host_ed25519_key.pub', keys.hostPublicKey),
    rendered(BOX_SCRIPT, 'knox-zfs-receive.sh', 0o700),
  ]
  return files.sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** The box's script alone, as the overlay has it. */
export const boxScriptOf = async ({ name, disk, pool }: BoxConfig): Promise<string> =>
  renderTemplate(await readTemplates(), 'knox-zfs-receive.sh', { name, disk, pool })

/** overlayFrom knox's own templates. */
export const overlayOf = async (box: BoxConfig, keys: BoxKeys): Promise<readonly OverlayFile[]> =>
  overlayFrom(await readTemplates(), box, keys)
