import type { Change, Read } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Disk } from './disk.ts'

/** dd(1): zeros onto a device, also as a measure of how fast it is written. */

const MIB = 1024 * 1024
/** what dd said last; /var/run is root's */
const SAID = '/var/run/knox-dd'

/** Writes so many MiB of zeros to the start of a device, and keeps what dd said for `writtenRate`. What was there is lost. */
export const writeZeros = (device: string, mib: number): Change => ({
  effect: 'change',
  argv: [
    '/bin/sh',
    '-c',
    `dd if=/dev/zero of="$1" bs="$2" count="$3" 2>${SAID} || { cat ${SAID} >&2; rm -f ${SAID}; exit 1; }`,
    'sh',
    device,
    MIB.toString(),
    mib.toString(),
  ],
})

/**
 * Bytes a second of the last `writeZeros`, from dd's last line: `N bytes transferred in S secs` on FreeBSD,
 * `N bytes ... copied, S s` elsewhere. Throws `disk` if dd did not say so.
 */
export const writtenRate: Read<number> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', `cat ${SAID} && rm -f ${SAID}`],
  parse: (stdout) => {
    const [, bytes, seconds] = /^([0-9]+) bytes.*?(?:transferred in|copied,) ([0-9.]+) s/m.exec(stdout) ?? []
    if (bytes === undefined || !(Number(seconds) > 0))
      throw new KnoxError('disk', 'dd did not say how fast it was', [stdout.trim().slice(0, 200)])
    return Number(bytes) / Number(seconds)
  },
}

/**
 * Zeros over the first and the last MiB of a disk, and over nothing between: what is known of a disk from outside stands there, ZFS's
 * four labels among it. In its own sectors, since a disk takes no half of one and need not end at a whole MiB; dd(1) of FreeBSD and
 * of Linux know all these words.
 */
export const zeroEnds = ({ name, bytes, sectorBytes }: Disk): readonly Change[] => {
  const count = Math.ceil(MIB / sectorBytes)
  return [0, bytes / sectorBytes - count].map((seek) => ({
    effect: 'change',
    argv: [
      ...['dd', 'if=/dev/zero', `of=/dev/${name}`, `bs=${sectorBytes}`],
      ...[`count=${count}`, `seek=${seek}`, 'conv=notrunc'],
    ],
  }))
}
