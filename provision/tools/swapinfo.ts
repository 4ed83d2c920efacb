import type { Read } from '../core/command.ts'

/** swapinfo(8) of FreeBSD 10.2 and later: devices in use as swap, such as `/dev/da0p3.eli`; a heading comes first. */
export const swapDevices: Read<readonly string[]> = {
  effect: 'read',
  argv: ['swapinfo', '-k'],
  parse: (stdout) => stdout.split('\n').flatMap((line) => /^\/dev\/\S+/.exec(line)?.[0] ?? []),
}
