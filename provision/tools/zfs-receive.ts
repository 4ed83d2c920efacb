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

/** What came from home of a property that the box has set for itself: name to value, `-` where home had only the default. */
export const receivedProperty = (dataset: string, property: string): Read<ReadonlyMap<string, string>> => ({
  effect: 'read',
  argv: ['zfs', 'get', '-Hp', '-r', '-t', 'filesystem', '-o', 'name,received', property, dataset],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line): [string, string][] => {
        const [name = '', value = '-'] = line.split('\t')
        return name === '' ? [] : [[name, value]]
      }),
    ),
})
