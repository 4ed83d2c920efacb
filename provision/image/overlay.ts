import { createHash } from 'node:crypto'
import { join } from 'node:path'
import type { BoxConfig } from '../core/config.ts'
import { KnoxError } from '../core/errors.ts'
import { BOX_SCRIPT, KEY_FILES } from '../core/keys.ts'
import type { Secret } from '../core/secret.ts'
import { readSecretFile, readTextIfAny } from '../system/files.ts'
import { releaseNumber, releaseOf, sshdWords } from './releases.ts'
import { renderTemplate, type TemplateValues } from './render.ts'

/** One file of the box; all belong to root:wheel. */
export interface OverlayFile {
  /** absolute on the box */
  readonly path: string
  readonly mode: number
  readonly content: string | Secret | { readonly linkTo: string }
}

/** The part of the key folder that goes into the box. */
export interface BoxKeys {
  readonly authority: string
  readonly hostKey: Secret
  readonly hostPublicKey: string
}

/** Reads what the box gets of the key folder. Throws `config` if it is not there. */
export const readBoxKeys = async (folder: string): Promise<BoxKeys> => {
  const text = async (file: string): Promise<string> => {
    const found = await readTextIfAny(join(folder, file))
    if (found === undefined)
      throw new KnoxError('config', `there are no keys in ${folder}`, ['knox keys init makes them'])
    return found
  }
  const authority = await text(`${KEY_FILES.ca}.pub`)
  const hostPublicKey = await text(`${KEY_FILES.hostKey}.pub`)
  return {
    authority,
    hostPublicKey,
    hostKey: await readSecretFile(join(folder, KEY_FILES.hostKey), 'host key'),
  }
}

/** A hostid that is the box's own, and the same whenever it is rendered: without one ZFS takes the pool for another machine's. */
const hostidOf = (hostPublicKey: string): string => {
  const hex = createHash('sha256')
    .update(hostPublicKey.trim().split(' ')[1] ?? '')
    .digest('hex')
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
    hex.slice(20, 32),
  ].join('-')
}

const memoryOf = (box: BoxConfig): { kmemSize: string | false; arcMax: string } => {
  if (releaseNumber(box.release)[0] > 10) return { kmemSize: false, arcMax: '64M' } // no fixed kmem since amd64 is the rule
  return box.board === 'laptop' ? { kmemSize: '150M', arcMax: '32M' } : { kmemSize: '180M', arcMax: '24M' }
}

const valuesOf = (box: BoxConfig, keys: BoxKeys): TemplateValues => {
  const { network } = box
  return {
    name: box.name,
    keymap: box.keymap,
    interface: box.interface,
    nameserver: box.nameserver,
    root: box.root,
    swap: box.swap,
    disk: box.disk,
    pool: box.pool,
    laptop: box.board === 'laptop',
    readOnlyRoot: box.board === 'rpi-b',
    bootMsdos: `${box.root.replace(/s2a$/, '')}s1`,
    dhcp: network === 'dhcp',
    ...(network === 'dhcp' ? {} : { address: network.address, gateway: network.gateway }),
    hostid: hostidOf(keys.hostPublicKey),
    ...memoryOf(box),
    ...sshdWords(releaseOf(box.release)),
  }
}

/** Every file that makes a FreeBSD system the box of this configuration. The same input gives the same files. */
export const overlayOf = async (box: BoxConfig, keys: BoxKeys): Promise<readonly OverlayFile[]> => {
  const values = valuesOf(box, keys)
  const rendered = async (path: string, template: string, mode = 0o644): Promise<OverlayFile> => ({
    path,
    mode,
    content: await renderTemplate(template, values),
  })
  const resolver: readonly OverlayFile[] =
    box.network === 'dhcp'
      ? [
          await rendered('/etc/resolvconf.conf', 'resolvconf.conf'),
          { path: '/etc/resolv.conf', mode: 0o644, content: { linkTo: '/var/run/resolv.conf' } },
        ]
      : [await rendered('/etc/resolv.conf', 'resolv.conf')]
  return [
    await rendered('/boot/loader.conf', 'loader.conf'),
    await rendered('/etc/crontab', 'crontab'),
    await rendered('/etc/fstab', 'fstab'),
    await rendered('/etc/hostid', 'hostid'),
    await rendered('/etc/rc.conf', 'rc.conf'),
    ...resolver,
    { path: '/etc/ssh/knox-ca', mode: 0o644, content: keys.authority },
    { path: '/etc/ssh/ssh_host_ed25519_key', mode: 0o600, content: keys.hostKey },
    { path: '/etc/ssh/ssh_host_ed25519_key.pub', mode: 0o644, content: keys.hostPublicKey },
    await rendered('/etc/ssh/sshd_config', 'sshd_config'),
    await rendered('/etc/ttys', 'ttys'),
    await rendered(BOX_SCRIPT, 'knox-zfs-receive.sh', 0o700),
  ]
}
