import type { Change, Read } from '../core/command.ts'

/** fsck_ffs(8) and fsck_msdosfs(8) of FreeBSD 10.2 and later. */

/** Mends what a crash leaves; nothing is done to a file system that was unmounted cleanly. */
export const fsckPreen = (device: string): Change => ({
  effect: 'change',
  argv: ['fsck_ufs', '-p', device],
  failures: [
    {
      pattern: /./,
      code: 'config',
      message: 'the root file system of the image is damaged, or there is none',
      hints: ['build or fetch the image again'],
    },
  ],
})

/** True if it was unmounted cleanly. -C looks only at that; -n keeps it from mending where it was not. */
export const isClean = (device: string): Read<boolean> => ({
  effect: 'read',
  argv: ['fsck_ufs', '-C', '-n', device],
  parse: (stdout) => /^(?:\S+: )?clean, \d+ free /m.test(stdout),
})

/** headings, the sum at the end, empty lines: all that a check without a finding prints */
const HARMLESS = /^(?:\*\* .*|\d+ files, \d+ used, \d+ free \(.*\)|\s*)$/

/** What a whole check found, line by line; none if all is well. With -n its exit code is 0 either way. */
export const fsckFindings = (device: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['fsck_ufs', '-f', '-n', device],
  parse: (stdout) => {
    const lines = stdout.split('\n')
    const findings = lines.filter((line) => !HARMLESS.test(line))
    const isWhole = lines.some((line) => line.startsWith('** Phase 5'))
    return isWhole ? findings : [...findings, 'the check did not come to its end']
  },
})

const FAT_SUM = /^\d+ files, .* free .*$/

/** What a check of the FAT file system found; none if all is well. It ends with up to 8 when it found something. */
export const fsckFatFindings = (device: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', 'fsck_msdosfs -n "$1"; [ $? -le 8 ]', 'sh', device],
  parse: (stdout) => {
    const lines = stdout.split('\n')
    const findings = lines.filter((line) => !/^(?:\*\* .*|\s*)$/.test(line) && !FAT_SUM.test(line))
    const isWhole = lines.some((line) => FAT_SUM.test(line))
    return isWhole ? findings : [...findings, 'the check did not come to its end']
  },
})
