import type { Read } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'

/** dd(1) as a measure of how fast something is written. */

const MIB = 1024 * 1024

/** Bytes a second from dd's last line: `N bytes transferred in S secs` on FreeBSD, `N bytes ... copied, S s` elsewhere. */
const parseRate = (stdout: string): number => {
  const [, bytes, seconds] = /^([0-9]+) bytes.*?(?:transferred in|copied,) ([0-9.]+) s/m.exec(stdout) ?? []
  if (bytes === undefined || !(Number(seconds) > 0))
    throw new KnoxError('disk', 'dd did not say how fast it was', [stdout.trim().slice(0, 200)])
  return Number(bytes) / Number(seconds)
}

/** Writes so many MiB of zeros to the start of a device and tells the rate in bytes a second. What was there is lost. */
export const writeRate = (device: string, mib: number): Read<number> => ({
  effect: 'read',
  argv: [
    '/bin/sh',
    '-c',
    'dd if=/dev/zero of="$1" bs="$2" count="$3" 2>&1',
    'sh',
    device,
    MIB.toString(),
    mib.toString(),
  ],
  parse: parseRate,
})
