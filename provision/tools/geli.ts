import type { Change, Read, StderrRule } from '../core/command.ts'
import type { Secret } from '../core/secret.ts'

/** geli(8) of FreeBSD 10.2 and later. The key file always comes by stdin (`-K -`, `-k -`). */

const WRONG_KEY: StderrRule = {
  pattern: /Wrong key/,
  code: 'key-rejected',
  message: 'geli says that the key is wrong',
  hints: [
    'right after init this is a known fault of geli on 32-bit ARM with FreeBSD 10.2: use a 10.4 or later system',
    'otherwise geli.key in the key folder is not the key of this disk',
  ],
}

/** AES-XTS with 128 bits, 4 KiB sectors, no passphrase; metadata backup is fetched by `readMetadata` instead. */
export const geliInit = (disk: string, key: Secret): Change => ({
  effect: 'change',
  argv: [
    'geli',
    'init',
    '-B',
    'none',
    '-e',
    'AES-XTS',
    '-l',
    '128',
    '-s',
    '4096',
    '-P',
    '-K',
    '-',
    `/dev/${disk}`,
  ],
  stdin: key,
})

export const geliAttach = (disk: string, key: Secret): Change => ({
  effect: 'change',
  argv: ['geli', 'attach', '-p', '-k', '-', `/dev/${disk}`],
  stdin: key,
  failures: [WRONG_KEY],
})

/** Plain detach: fails while the provider is open. */
export const geliDetach = (disk: string): Change => ({ effect: 'change', argv: ['geli', 'detach', disk] })

/** Names of the attached providers, such as `da0.eli`. An unloaded module means none. */
export const geliProviders: Read<readonly string[]> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'geli status -s || :'],
  parse: (stdout) => stdout.split('\n').flatMap((line) => line.trim().split(/\s+/)[0] ?? []),
}

/** The metadata sector as `geli backup` keeps it: without it and with a damaged last sector the disk is lost. */
export const readMetadata = (disk: string): Read<Buffer> => ({
  effect: 'read',
  argv: [
    '/bin/sh',
    '-c',
    `f=/var/run/knox-metadata.$$; umask 077; geli backup ${disk} "$f" && od -An -v -tx1 "$f"; s=$?; rm -f "$f"; exit $s`,
  ],
  parse: (stdout) => Buffer.from(stdout.replaceAll(/\s+/g, ''), 'hex'),
})

/** What a pool's disk goes through here: `try` since on 10.2 a device is let go of some time after the export. */
const LOOK_FOR_POOL = `
try() { n=0; until "$@" 2>/dev/null; do n=$((n + 1)); [ "$n" -lt 10 ] || return 1; sleep 1; done; }
geli attach -p -k - "/dev/$1" || exit
found=no
if zpool import -f -N -R /var/run/knox/mnt -o readonly=on -o cachefile=none "$2" >/dev/null 2>&1; then
  found=yes
  try zpool export "$2"
fi
try geli detach "$1" && echo "$found"
`

/**
 * True if a pool of this name can be imported from the disk. Nothing is written to it, and it is detached again: in one command, so that
 * the box ends it also when the connection breaks. Fails if the key does not open the disk, or it could not be detached.
 */
export const holdsPool = (disk: string, pool: string, key: Secret): Read<boolean> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', LOOK_FOR_POOL, 'sh', disk, pool],
  stdin: key,
  failures: [WRONG_KEY],
  parse: (stdout) => stdout.trim() === 'yes',
})
