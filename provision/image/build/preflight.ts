import type { Read, Runner } from '../../core/command.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Emit } from '../../core/events.ts'
import { printable } from '../../core/names.ts'
import { quoteAll } from '../../core/quote.ts'
import { formatBytes } from '../../core/sizes.ts'
import { memoryDisks } from '../../tools/mdconfig.ts'
import { mounts } from '../../tools/mount.ts'
import { TREE_MARK, type Tree } from './sources.ts'
import { workspaceOf, type Workspace } from './workspace.ts'

/** Everything that a build needs of its host, looked at before anything long begins. */

const FIRMWARE = '/usr/local/share/u-boot/u-boot-rpi'
const UBOOT = `${FIRMWARE}/u-boot.img`
const GIB = 2 ** 30
/** sources and objects */
const TREES = 7 * GIB

/** name, what is missing without it, and the command that mends it */
const PROGRAMS: readonly (readonly [name: string, mend: string])[] = [
  ['git', 'pkg install git'],
  ['python', 'pkg install python && ln -s /usr/local/bin/python3 /usr/local/bin/python'],
  ['dtc', 'pkg install dtc'],
]

/** of releases that are past their end */
const NO_PACKAGES =
  'pkg has nothing for FreeBSD 10 any more: docs/image.md says where to get them, and how to do without git'

const LOOK = [
  'echo "system $(uname -s)"',
  'echo "release $(uname -r)"',
  'echo "uid $(id -u)"',
  'for p in $PROGRAMS; do command -v "$p" >/dev/null 2>&1 && echo "has $p"; done',
  `find ${FIRMWARE} -name u-boot.img 2>/dev/null | grep -q . && echo "has u-boot"`,
  'd=$WORK; while [ ! -d "$d" ]; do d=${d%/*}; d=${d:-/}; done',
  // links in it would hide from us what mount(8) and mdconfig(8) list, and make(1) builds below its real name
  'r=$(cd -P "$d" && pwd -P); echo "folder ${r%/}${WORK#"${d%/}"}"',
  // what others can write to must not be built from by root
  'if [ -e "$WORK" ] || [ -L "$WORK" ]; then',
  '  case $(ls -ld "$WORK") in d????w* | d???????w*) echo "open yes" ;; d*) ;; *) echo "open no-folder" ;; esac',
  '  [ -O "$WORK" ] || echo "open other"',
  'fi',
  'for n in src crochet; do',
  '  p=$WORK/$n',
  `  [ -e "$p/${TREE_MARK}" ] || [ -z "$(ls -A "$p" 2>/dev/null)" ] || foreign="\${foreign:+$foreign, }$p"`,
  // by their real names too
  '  q=$(cd -P "$p" 2>/dev/null && pwd -P) || q=${r%/}${WORK#"${d%/}"}/$n',
  '  for t in "$@"; do',
  '    t=$(cd -P "${t#file://}" 2>/dev/null && pwd -P) || continue; t=${t%/}/',
  '    case $t in "$q"/*) echo "nested ${t%/} and $p" ;; esac; case $q/ in "$t"*) echo "nested ${t%/} and $p" ;; esac',
  '  done',
  'done',
  '[ -z "$foreign" ] || echo "foreign $foreign"',
  // a folder without git is copied
  'for t in "$@"; do [ -d "$t" ] && [ ! -e "$t/.git" ] && [ ! -f "$t/HEAD" ] || echo "fetch yes"; done',
  'echo "used $(du -sk "$WORK" 2>/dev/null | awk \'{ print $1 }\')"',
  'echo "room $(df -k "$d" | awk \'END { print $4 }\')"',
  'p=$(cat "$PID" 2>/dev/null) && ps -ww -o args= -p "$p" 2>/dev/null | grep -q crochet && echo "crochet $p"',
  'exit 0',
].join('\n')

interface Host {
  readonly lines: ReadonlyMap<string, string>
  readonly has: ReadonlySet<string>
}

/** `trees` are the sources that will be fetched there. */
export const lookAtHost = (space: Workspace, trees: readonly Tree[]): Read<Host> => ({
  effect: 'read',
  argv: [
    ...['env', 'foreign=', `WORK=${space.folder}`, `PID=${space.pid}`],
    `PROGRAMS=${[...PROGRAMS.map(([name]) => name), 'svnlite', 'svn'].join(' ')}`,
    ...['/bin/sh', '-c', LOOK, 'sh', ...trees.filter(({ kind }) => kind === 'git').map(({ url }) => url)],
  ],
  parse: (stdout) => {
    const pairs = stdout.split('\n').map((line) => {
      const [, key = '', value = ''] = /^(\S*) ?(.*)$/.exec(line) ?? []
      return [key, value] as const
    })
    return {
      lines: new Map(pairs),
      has: new Set(pairs.flatMap(([key, value]) => (key === 'has' ? [value] : []))),
    }
  },
})

/** What a build takes of a host. */
export interface Needs {
  readonly trees: readonly Tree[]
  /** of the image */
  readonly bytes: number
  /** bytes that are needed beside the work folder, on its file system */
  readonly beside: number
}

/** Every problem of a host at once, each with what mends it. Empty if it can build. */
export const problemsOf = ({ lines, has }: Host, { trees, bytes, beside }: Needs): readonly string[] => {
  const [room = 0, used = 0] = ['room', 'used'].map((name) => Number(lines.get(name) ?? 0) * 1024)
  // the image, and the copy of it that becomes the box's
  const needed = Math.max(TREES + 2 * bytes - used, bytes) + beside
  const programs = PROGRAMS.filter(([name]) => !has.has(name) && (name !== 'git' || lines.has('fetch')))
  const isSvn = trees.some(({ kind }) => kind === 'svn')
  return [
    ...(lines.get('uid') === '0' ? [] : ['it must run as root: crochet attaches and mounts the image']),
    ...(lines.has('open')
      ? [
          'the work folder is not a folder of root’s that only root can write to: --work DIR, or chown and chmod 755',
        ]
      : []),
    ...programs.map(([name, mend]) => `${name} is missing: ${mend}`),
    ...(!isSvn || has.has('svnlite') || has.has('svn') ? [] : ['svnlite is missing: pkg install subversion']),
    ...(programs.length > 0 && isTen(lines.get('release') ?? '') ? [NO_PACKAGES] : []),
    ...(has.has('u-boot')
      ? []
      : [
          `${UBOOT} is missing: today’s package u-boot-rpi has none; u-boot-rpi-2013.01_2.txz of the tutorial’s repository does (docs/image.md)`,
        ]),
    ...(room >= needed
      ? []
      : [`there is room for ${formatBytes(room)} only, and ${formatBytes(needed)} are needed: --work DIR`]),
  ]
}

const isTen = (release: string): boolean => /^10\./.test(release)

/** What is to be said of the host's own release: 10.2 has been built on 10.x; undefined for those. */
export const releaseWarning = (release: string): string | undefined =>
  isTen(release)
    ? undefined
    : `this is FreeBSD ${release}: whether its compiler builds 10.2 is not known; a 10.4 in a virtual machine does`

/** Throws `refused` where fetching the sources would replace a tree that is not knox's, or the source itself. */
const checkTrees = ({ lines }: Host): void => {
  const [foreign, nested] = [lines.get('foreign'), lines.get('nested')]
  if (foreign !== undefined) {
    const keep = quoteAll(['touch', ...foreign.split(', ').map((path) => `${path}/${TREE_MARK}`)])
    throw new KnoxError(
      'refused',
      foreign.includes(', ') ? `${foreign} are no trees of knox` : `${foreign} is no tree of knox`,
      [
        'the sources would replace it: another --work DIR, or move it away',
        `if an earlier knox made it, it may be removed; or keep it: ${keep}`,
        'nothing was changed',
      ],
    )
  }
  if (nested !== undefined)
    throw new KnoxError('refused', `a source and its copy would lie in one another: ${printable(nested)}`, [
      'another --work DIR, or another folder as source in knox.yaml',
      'nothing was changed',
    ])
}

export interface HostOptions extends Needs {
  readonly emit: Emit
  /** image.builder, if the host is not this machine */
  readonly builder?: string | undefined
}

/**
 * Looks at the host and returns the workspace by its real name there. Throws `platform` with all that is missing, `busy` if
 * an earlier build is still under way there, `refused` for what is not knox's in the places of the sources.
 */
export const checkHost = async (
  runner: Runner,
  space: Workspace,
  { emit, builder, ...needs }: HostOptions,
): Promise<Workspace> => {
  const host = await runner.read(lookAtHost(space, needs.trees))
  const system = host.lines.get('system') ?? 'unknown'
  const where = builder ?? 'this machine'
  if (system !== 'FreeBSD')
    throw new KnoxError('platform', `an image is built on FreeBSD, and ${builder ?? 'this'} is ${system}`, [
      `image.builder: root@host in knox.yaml has a FreeBSD machine do it`,
      'nothing was changed',
    ])
  const pid = host.lines.get('crochet')
  if (pid !== undefined)
    throw new KnoxError('busy', `crochet of an earlier run is still at work (process ${pid})`, [
      `wait until it has ended, or end it on ${where}: kill ${pid}`,
    ])
  checkTrees(host)
  const text = releaseWarning(host.lines.get('release') ?? 'unknown')
  if (text !== undefined) emit({ type: 'warning', text })
  const problems = problemsOf(host, needs)
  if (problems.length > 0) throw new KnoxError('platform', `${where} cannot build the image yet`, problems)
  return workspaceOf(host.lines.get('folder') ?? space.folder)
}

/** What the board's part of crochet copies to the FAT slice: firmware and U-Boot, each with its SHA-256 in hex. */
export const firmware: Read<readonly { readonly name: string; readonly sha256: string }[]> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'find "$1" -type f | LC_ALL=C sort | xargs sha256 -r', 'sh', FIRMWARE],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [, sha256, name] = /^([0-9a-f]{64}) (.+)$/.exec(line) ?? []
      return sha256 === undefined || name === undefined ? [] : [{ name, sha256 }]
    }),
}

export interface Leftovers {
  readonly mounted: readonly string[]
  readonly units: readonly number[]
}

/** What leftoversOf reads. */
export const leftoverReads = [mounts, memoryDisks]

/** What crochet has left of an interrupted build: its mount points, newest first, and memory disks of the image. */
export const leftoversOf = async (runner: Runner, space: Workspace): Promise<Leftovers> => {
  const mounted = (await runner.read(mounts)).filter(({ on }) => on.startsWith(`${space.workdir}/_.mount.`))
  const units = (await runner.read(memoryDisks)).filter(({ file }) => file === space.raw)
  return { mounted: mounted.map(({ on }) => on).toReversed(), units: units.map(({ unit }) => unit) }
}
