import type { Change, Read, StderrRule } from '../core/command.ts'
import { printable } from '../core/names.ts'

/** mdconfig(8) of FreeBSD 10.2 and later: a file as a disk. */

export interface MemoryDisk {
  /** 0 is md0 */
  readonly unit: number
  /** the file behind it, without links; undefined for one of memory */
  readonly file: string | undefined
}

const ROOT_ONLY: StderrRule = {
  pattern: /Permission denied|Operation not permitted/,
  code: 'platform',
  message: 'only root can attach an image as a disk',
  hints: ['run it as root'],
}

/**
 * Attaches a file as /dev/md<unit>. The unit is chosen before, so that it can be written down before: who is killed in
 * between leaves nothing that nobody knows of. It fails with "Device busy" if the unit is taken.
 */
export const mdAttach = (image: string, unit: number, access: 'read-only' | 'read-write'): Change => ({
  effect: 'change',
  argv: [
    ...['mdconfig', '-a', '-t', 'vnode'],
    ...(access === 'read-only' ? ['-o', 'readonly'] : []),
    ...['-f', image, '-u', unit.toString()],
  ],
  failures: [ROOT_ONLY],
})

/** Fails as `busy` while somebody still has it open. */
export const mdDetach = (unit: number): Change => ({
  effect: 'change',
  argv: ['mdconfig', '-d', '-u', unit.toString()],
  failures: [
    {
      pattern: /Device busy/,
      code: 'busy',
      message: `the image is still in use as md${unit}`,
      hints: [`mdconfig -d -u ${unit}, when nothing of it is mounted or open any more`],
    },
  ],
})

/**
 * Every memory disk. `mdconfig -l -v` prints name, type, size, file and, since 12, a label, with tabs between. A file
 * name may hold blanks. There is nothing to list where there has never been one.
 */
export const memoryDisks: Read<readonly MemoryDisk[]> = {
  effect: 'read',
  argv: ['mdconfig', '-l', '-v'],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [name = '', type, , file] = line.split('\t')
      const unit = /^md(\d+)$/.exec(name)?.[1]
      if (unit === undefined) return []
      return [
        { unit: Number(unit), file: type === 'vnode' && file !== undefined ? printable(file) : undefined },
      ]
    }),
  failures: [
    // even a list of them opens /dev/mdctl for writing
    ROOT_ONLY,
    {
      pattern: /not found|not exist/,
      code: 'platform',
      message: 'an image can be customised on FreeBSD only: there is no mdconfig(8) here',
      hints: ['no other system writes UFS: use a FreeBSD machine, or have one as image.builder'],
    },
  ],
}
