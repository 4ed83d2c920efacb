import type { Change, Read } from '../core/command.ts'

/** zfs receive (zfs-receive(8)) at home, and what it leaves; as on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure. */

export interface ReceiveOptions {
  /** keep what arrives of a broken stream; not known to 10.2 */
  readonly resumable: boolean
  /** -F: onto an existing dataset without snapshots, whose files are lost */
  readonly overwrite: boolean
}

/** The argv that takes one stream; nothing is mounted. */
export const receiveArgv = (dataset: string, { resumable, overwrite }: ReceiveOptions): readonly string[] => [
  ...['zfs', 'receive', '-u'],
  ...(resumable ? ['-s'] : []),
  ...(overwrite ? ['-F'] : []),
  dataset,
]

/** Tokens of broken receives by dataset, for all below a pool. Fails where zfs knows none (FreeBSD 10.2). */
export const listTokens = (pool: string): Read<ReadonlyMap<string, string>> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-r', '-t', 'filesystem,volume', '-o', 'name,receive_resume_token', pool],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line): [string, string][] => {
        const [name = '', token = '-'] = line.split('\t')
        return name === '' || token === '-' || token === '' ? [] : [[name, token]]
      }),
    ),
})

/** Discards what a broken receive has left. */
export const discardPartial = (dataset: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'receive', '-A', dataset],
})

/** An empty dataset. */
export const createDataset = (dataset: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'create', dataset],
})

/** Sets a property of one dataset. */
export const setProperty = (dataset: string, property: string, value: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'set', `${property}=${value}`, dataset],
})

/** Lets a dataset inherit a property, or have the default, whatever it has received. */
export const inheritProperty = (dataset: string, property: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'inherit', property, dataset],
})

/** A property that is set where it was received, too. */
export interface Overridden {
  readonly dataset: string
  readonly property: string
  /** undefined where the sender had only the default, or what it inherited */
  readonly received: string | undefined
}

/** Of some properties those that are set locally, for all below a dataset, and what had been received of them. */
export const listOverridden = (
  dataset: string,
  properties: readonly string[],
): Read<readonly Overridden[]> => ({
  effect: 'read',
  argv: [
    ...['zfs', 'get', '-Hp', '-r', '-s', 'local', '-t', 'filesystem,volume', '-o', 'name,property,received'],
    ...[properties.join(','), dataset],
  ],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [name = '', property = '', received = '-'] = line.split('\t')
      return name === ''
        ? []
        : [{ dataset: name, property, received: received === '-' ? undefined : received }]
    }),
})

/** A file system and where zfs would mount it. */
export interface MountPlace {
  readonly dataset: string
  readonly mountpoint: string
}

/** Every file system of every pool here that can be mounted at a place of its own. */
export const listMountPlaces: Read<readonly MountPlace[]> = {
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-t', 'filesystem', '-o', 'name,canmount,mountpoint'],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [dataset = '', canmount = '', mountpoint = ''] = line.split('\t')
      return mountpoint.startsWith('/') && canmount !== 'off' ? [{ dataset, mountpoint }] : []
    }),
}
