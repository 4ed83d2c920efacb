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

/** The argv that writes a file or folder of the mounted snapshot to stdout. */
export const packArgv = (path: string): readonly string[] => ['tar', '-cf', '-', '-C', LOOK, below(path)]

/** The argv that unpacks it from stdin, with modes and times. */
export const unpackArgv = (folder: string): readonly string[] => ['tar', '-xpf', '-', '-C', folder]

/** One line of cksum(1) a regular file, sorted; undefined if there is no such path. */
export const checksums = (folder: string, path: string): Read<string | undefined> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c'],
    'cd "$1" && { [ -e "$2" ] || [ -L "$2" ] || { echo none; exit 0; }; } && find "$2" -type f -exec cksum {} + | sort',
    ...['sh', folder, below(path)],
  ],
  parse: (stdout) => (stdout === 'none\n' ? undefined : stdout),
})
