import type { Change, Read, StderrRule } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'

/** zfs(8), as it is on FreeBSD 10.2 and later and on Linux (OpenZFS). Pure: builds commands, parses output. */

export type DatasetType = 'filesystem' | 'volume'

export interface Snapshot {
  /** the part after the @ */
  readonly name: string
  /** identity, decimal */
  readonly guid: string
  /** order within its dataset */
  readonly createtxg: bigint
  /** true if a hold keeps it from being destroyed */
  readonly held?: true
}

export interface Dataset {
  readonly name: string
  readonly type: DatasetType
  readonly guid: string
  readonly createtxg: bigint
  readonly resumeToken: string | undefined
  /** oldest first */
  readonly snapshots: readonly Snapshot[]
}

/** What the words of zfs on stderr mean, whatever the verb. */
export const FAILURES: readonly StderrRule[] = [
  {
    pattern: /dataset does not exist|no such pool|no datasets available/,
    code: 'config',
    message: 'the pool or dataset does not exist at home',
    hints: ['zfs list shows what there is; home.pool in knox.yaml names the pool'],
  },
  {
    pattern: /permission denied|Permission denied|must be root|cannot open .*\/dev\/zfs/,
    code: 'platform',
    message: 'zfs does not let this user do it',
    hints: ['run as root, or once: zfs allow -u USER send,diff,snapshot,mount,hold,release POOL'],
  },
  {
    pattern: /modules? (?:are|is) not loaded|ZFS utilities must be run as root|Failed to initialize/,
    code: 'platform',
    message: 'zfs is not ready on this machine',
    hints: ['load the module: kldload zfs (FreeBSD), modprobe zfs (Linux)'],
  },
]

const INVENTORY_COLUMNS = 'name,type,guid,createtxg,userrefs'

const malformed = (line: string): KnoxError =>
  new KnoxError('verification', `an inventory line is not understood: ${JSON.stringify(line.slice(0, 200))}`)

const DECIMAL = /^[0-9]{1,20}$/

/** version, checksum, length, and a packed list, all in hexadecimal */
const TOKEN = /^[0-9]{1,4}-[0-9a-f]{1,32}-[0-9a-f]{1,16}-[0-9a-f]{1,16384}$/

/** all that ZFS allows in a name lies within printable ASCII */
const PRINTABLE = /^[ -~]{1,1024}$/

/**
 * Datasets with their snapshots from lines of `zfs list -Hp -t filesystem,volume,snapshot -o name,type,guid,createtxg[,userrefs[,token]]`.
 * Throws `verification` for a line that is none.
 */
export const parseInventory = (lines: readonly string[]): readonly Dataset[] => {
  const datasets = new Map<string, Omit<Dataset, 'snapshots'>>()
  const snapshots = new Map<string, Snapshot[]>()
  for (const line of lines) {
    const [name, type, guid, createtxg, userrefs = '0', token] = line.split('\t')
    if (name === undefined || guid === undefined || createtxg === undefined) throw malformed(line)
    if (!PRINTABLE.test(name) || !DECIMAL.test(guid) || !DECIMAL.test(createtxg)) throw malformed(line)
    const at = name.indexOf('@')
    if (type === 'snapshot' && at > 0) {
      const dataset = name.slice(0, at)
      const of = snapshots.get(dataset) ?? []
      if (!DECIMAL.test(userrefs)) throw malformed(line)
      const held = userrefs === '0' ? {} : { held: true as const }
      of.push({ name: name.slice(at + 1), guid, createtxg: BigInt(createtxg), ...held })
      snapshots.set(dataset, of)
    } else if ((type === 'filesystem' || type === 'volume') && at < 0) {
      const resumeToken = token === undefined || token === '-' || token === '' ? undefined : token
      if (resumeToken !== undefined && !TOKEN.test(resumeToken)) throw malformed(line)
      datasets.set(name, { name, type, guid, createtxg: BigInt(createtxg), resumeToken })
    } else throw malformed(line)
  }
  const older = (a: Snapshot, b: Snapshot) =>
    a.createtxg < b.createtxg ? -1 : a.createtxg > b.createtxg ? 1 : 0
  return [...datasets.values()].map((dataset) => ({
    ...dataset,
    snapshots: (snapshots.get(dataset.name) ?? []).sort(older),
  }))
}

/** All datasets and snapshots below a pool, by one process whatever their number. */
export const listInventory = (pool: string): Read<readonly Dataset[]> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-Hp', '-r', '-t', 'filesystem,volume,snapshot', '-o', INVENTORY_COLUMNS, pool],
  parse: (stdout) => parseInventory(stdout.split('\n').filter((line) => line !== '')),
  failures: FAILURES,
})

/** When each dataset and snapshot below a pool was made, in seconds since 1970, by its name. */
export const listCreations = (pool: string): Read<ReadonlyMap<string, number>> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-Hp', '-r', '-t', 'filesystem,volume,snapshot', '-o', 'name,creation', pool],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line) => {
        const [, name = '', creation = ''] = /^([^\t]+)\t([0-9]{1,12})$/.exec(line) ?? []
        return name === '' ? [] : [[name, Number(creation)] as const]
      }),
    ),
  failures: FAILURES,
})

/** The snapshots (`dataset@name`) that have clones, for all below a pool; a clone is always in the pool of its origin. */
export const listOrigins = (pool: string): Read<ReadonlySet<string>> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-r', '-t', 'filesystem,volume', '-o', 'origin', pool],
  parse: (stdout) => new Set(stdout.split('\n').filter((name) => name.includes('@'))),
  failures: FAILURES,
})

/** Where a file system is mounted; undefined if it is not. */
export const mountpointOf = (dataset: string): Read<string | undefined> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-o', 'mounted,mountpoint', dataset],
  parse: (stdout) => /^yes\t(\/.*)$/m.exec(stdout)?.[1],
  failures: FAILURES,
})

/** The names of all datasets below a pool. */
export const listNames = (pool: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-r', '-t', 'filesystem,volume', '-o', 'name', pool],
  parse: (stdout) => stdout.split('\n').filter((line) => line !== ''),
  failures: FAILURES,
})

const snapshotFailures = (snapshot: string): readonly StderrRule[] => [
  { pattern: /dataset already exists/, code: 'busy', message: `a snapshot ${snapshot} exists already` },
  {
    pattern: /out of space/,
    code: 'failed',
    message: 'the pool at home has no room for a snapshot',
    hints: [
      'remove old snapshots or files at home, or leave out by home.exclude what has no room for one: a volume with refreservation needs its size once more',
    ],
  },
  ...FAILURES,
]

/** `zfs snapshot -r pool@name`: all datasets at one instant. */
export const snapshotRecursively = (pool: string, snapshot: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'snapshot', '-r', `${pool}@${snapshot}`],
  failures: snapshotFailures(snapshot),
})

/** Snapshots of these datasets of one pool, at one instant too: zfs(8) takes them all or none. */
export const snapshotSome = (datasets: readonly string[], snapshot: string): Change => ({
  effect: 'change',
  argv: ['zfs', 'snapshot', ...datasets.map((name) => `${name}@${snapshot}`)],
  failures: snapshotFailures(snapshot),
})

export interface FileChange {
  /** + made, - removed, M modified, R renamed */
  readonly kind: '+' | '-' | 'M' | 'R'
  readonly path: string
  readonly renamedTo: string | undefined
}

/** the bytes that zfs diff does not write as they are: up to blank, backslash, and beyond ASCII */
const ESCAPED = /\\0?(0[0-3][0-7]|040|134|177|[23][0-7]{2})/g

/** zfs diff writes them as \0ooo (OpenZFS) or \ooo (10.2), byte by byte. */
const unescapePath = (text: string): string => {
  const bytes = Buffer.from(text).toString('latin1')
  const plain = bytes.replace(ESCAPED, (_match, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
  return Buffer.from(plain, 'latin1').toString()
}

/** Files that changed between two snapshots of one file system, or since a snapshot. */
export const diff = (dataset: string, from: string, to: string): Read<readonly FileChange[]> => ({
  effect: 'read',
  argv: ['zfs', 'diff', '-H', `${dataset}@${from}`, `${dataset}@${to}`],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [kind, path, renamedTo] = line.split('\t')
      if ((kind !== '+' && kind !== '-' && kind !== 'M' && kind !== 'R') || path === undefined) return []
      return [
        {
          kind,
          path: unescapePath(path),
          // for M a third field is the change of the link count
          renamedTo: kind === 'R' && renamedTo !== undefined ? unescapePath(renamedTo) : undefined,
        },
      ]
    }),
  failures: FAILURES,
})

/** The dataset in which an absolute path lies; fails where that is no ZFS. */
export const datasetAt = (path: string): Read<string> => ({
  effect: 'read',
  argv: ['zfs', 'list', '-H', '-o', 'name', path],
  parse: (stdout) => stdout.trim(),
})
