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
