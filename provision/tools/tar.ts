import type { Change, Read } from '../core/command.ts'

/** tar(1), find(1) and cksum(1) over a snapshot that is mounted for a look; the same words on FreeBSD 10.2 and Linux. */

/** where a snapshot is mounted on the box; on its memory disk */
export const LOOK = '/var/run/knox/look'

/** Mounts a snapshot read-only. mount -t zfs takes snapshots on FreeBSD and on Linux. */
export const lookAt = (snapshot: string, folder = LOOK): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', 'mkdir -p "$1" && mount -t zfs -o ro "$2" "$1"', 'sh', folder, snapshot],
})

/** Unmounts it. */
export const lookAway = (folder = LOOK): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', 'umount "$1" && rmdir "$1"', 'sh', folder],
})

/** a path can begin with a dash */
const below = (path: string): string => `./${path}`

/**
 * The argv that writes a file or folder of the mounted snapshot to stdout. In a UTF-8 locale, root's since FreeBSD 13, bsdtar
 * would write names as UTF-8, and home's bsdtar in the C locale ends with 1 for each one that is not ASCII; in the C locale it
 * marks them as bytes (hdrcharset=BINARY).
 */
export const packArgv = (path: string): readonly string[] => [
  ...['env', 'LC_ALL=C', 'tar', '-cf', '-', '-C', LOOK],
  below(path),
]

/** The argv that unpacks it from stdin, with modes and times. */
export const unpackArgv = (folder: string): readonly string[] => ['tar', '-xpf', '-', '-C', folder]

/** The same for files of the box: owners by their numbers, since a name of the box can mean another user here. GNU tar and bsdtar know it. */
export const unpackByNumber = (folder: string): readonly string[] => [
  ...unpackArgv(folder),
  '--numeric-owner',
]

/** True if there is such a path, be it a link to nowhere. */
export const isThere = (folder: string, path: string): Read<boolean> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c', 'cd "$1" || exit; { [ -e "$2" ] || [ -L "$2" ]; } && echo yes || echo no'],
    ...['sh', folder, below(path)],
  ],
  parse: (stdout) => stdout === 'yes\n',
})

/** One line of cksum(1) a regular file, sorted. */
export const checksums = (folder: string, path: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c', 'cd "$1" && find "$2" -type f -exec cksum {} +'],
    ...['sh', folder, below(path)],
  ],
  parse: (stdout) => stdout.split('\n').slice(0, -1).sort(),
})

/** How much there is below a folder. */
export interface Amount {
  readonly bytes: number
  /** folders, links and all else are counted as well */
  readonly files: number
}

/** What a folder holds by the sizes of its files, holes included. ls -n: a name of a group can be two words. */
export const amountIn = (folder: string): Read<Amount> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c'],
    `find "$1" -exec ls -dn {} + | awk '{ bytes += $5 } END { printf "%.0f %d\\n", bytes, NR }'`,
    ...['sh', folder],
  ],
  parse: (stdout) => {
    const [bytes = 0, files = 0] = stdout.split(' ').map(Number)
    return { bytes, files }
  },
})
