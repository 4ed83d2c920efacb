import { readFile } from 'node:fs/promises'
import type { Change, Read } from '../../core/command.ts'
import { KnoxError } from '../../core/errors.ts'
import { renderText } from '../render.ts'
import type { Workspace } from './workspace.ts'

/** What knox changes of the sources, as data: a file with its content, and one line of another. */

const MIB = 1024 * 1024
const UNITS: Readonly<Record<string, number>> = {
  ...{ m: 1e6, mb: 1e6, g: 1e9, gb: 1e9 },
  ...{ mi: MIB, mib: MIB, gi: 1024 * MIB, gib: 1024 * MIB },
}
const FAT_MIB = 17

/** `image.size` in bytes, as crochet understands it. */
export const imageBytes = (size: string): number => {
  const [, number = '', unit = ''] = /^([0-9]+)([a-z]+)$/.exec(size) ?? []
  return Number(number) * (UNITS[unit] ?? 0)
}

/** Size of the root file system in MiB: four fifths of the card, in hundreds; the rest is swap. The tutorial's 3900mb gives 3000. */
export const rootMib = (size: string): number => {
  const all = imageBytes(size) / MIB
  const root = Math.floor(((all - FAT_MIB) * 0.811) / 100) * 100
  if (root < 900)
    throw new KnoxError('config', `image.size ${size} is too small for FreeBSD`, ['at least 1300mb'])
  return root
}

/** A file of the build with what must stand in it. */
export interface FileChange {
  readonly path: string
  readonly content: string
  /** changed, it makes crochet's kernel of an earlier build worthless */
  readonly isKernel: boolean
}

/** The files that knox adds, for a size of card. */
export const fileChanges = async (space: Workspace, size: string): Promise<readonly FileChange[]> => {
  const text = (path: string) => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')
  const values = {
    size,
    src: space.src,
    workdir: space.workdir,
    image: space.raw,
    root: rootMib(size).toString(),
  }
  return [
    {
      path: `${space.src}/${KERNCONF}`,
      content: await text('kernconf/RPI-B-ZFS'),
      isKernel: true,
    },
    {
      path: space.configFile,
      content: renderText(await text('crochet-overlay/config.sh.hbs'), values),
      isKernel: false,
    },
  ]
}

/**
 * crochet compares only the command line of make: without its marks it builds the kernel anew, and the loader, which has its
 * mark in a folder of its own.
 */
const FORGET_KERNEL = 'rm -rf "$2"/_.built-kernel.* "$2"/ubldr-*'

/** Takes away the marks of a kernel that is not what it should be. */
export const forgetKernel = ({ workdir }: Workspace): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', FORGET_KERNEL, 'sh', '', workdir],
})

/** True if the file holds this already. */
export const holds = ({ path, content }: FileChange): Read<boolean> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', 'if cmp -s - "$1"; then echo yes; fi', 'sh', path],
  stdin: content,
  parse: (stdout) => stdout === 'yes\n',
})

/** Writes it, whole or not at all. */
export const writeFile = ({ path, content, isKernel }: FileChange, space: Workspace): Change => ({
  effect: 'change',
  argv: [
    ...[
      '/bin/sh',
      '-c',
      `set -e; umask 022; ${isKernel ? `${FORGET_KERNEL}; ` : ''}cat >"$1.new"; mv "$1.new" "$1"`,
    ],
    ...['sh', path, space.workdir],
  ],
  stdin: content,
  failures: [
    {
      pattern: /No such file/,
      code: 'config',
      message: 'the FreeBSD sources are not what they should be: there is no sys/arm/conf',
      hints: ['is image.source a FreeBSD tree?'],
    },
  ],
})

/** What crochet's marks of an earlier build stand for. */
export interface BuiltFrom {
  /** of the whole tree; a mark of another is worthless */
  readonly world: string
  /** of its kernel configurations too */
  readonly kernel: string
}

const KEEP_MARKS = [
  'umask 022; mkdir -p "$1"; cd "$1" || exit 1',
  'read -r world; read -r kernel',
  '{ read -r w; read -r k; } 2>/dev/null <knox-built-from',
  '[ "$world" = "$w" ] || rm -f _.built-* || exit 1',
  '[ "$kernel" = "$k" ] || rm -rf _.built-kernel.* ubldr-* || exit 1',
  'printf "%s\\n%s\\n" "$world" "$kernel" >knox-built-from',
].join('\n')

/** Takes crochet's marks away if they stand for other sources: it would build nothing anew. */
export const keepMarks = ({ workdir }: Workspace, { world, kernel }: BuiltFrom): Change => ({
  effect: 'change',
  argv: ['/bin/sh', '-c', KEEP_MARKS, 'sh', workdir],
  stdin: `${world}\n${kernel}\n`,
})

/** what knox itself changes in the tree, or was about to when it was killed */
export const isOurChange = (path: string): boolean => [CPUVAR, KERNCONF].includes(path.replace(/\.new$/, ''))

const KERNCONF = 'sys/arm/conf/RPI-B-ZFS'
const CPUVAR = 'sys/cddl/compat/opensolaris/sys/cpuvar.h'
const LINE = '^#define[[:blank:]][[:blank:]]*cpu_id[[:blank:]][[:blank:]]*cpuid[[:blank:]]*$'
const MARK = '/* knox: cpu_id is a macro of machine/cpufunc.h on arm */'

export type LineState = 'to do' | 'applied' | 'unexpected'

/**
 * The line of cpuvar.h that clashes with arm's own cpu_id (line 50 in 10.2 and 10.4; the tutorial's patch of it is broken).
 * It must be there once, or have been taken out by knox.
 */
export const cpuvarState = (space: Workspace): Read<LineState> => ({
  effect: 'read',
  argv: [
    ...['/bin/sh', '-c', 'grep -c "$2" "$1"; grep -c -F "$3" "$1"; exit 0'],
    ...['sh', `${space.src}/${CPUVAR}`, LINE, MARK],
  ],
  parse: (stdout) => (stdout === '1\n0\n' ? 'to do' : stdout === '0\n1\n' ? 'applied' : 'unexpected'),
})

/** Puts a comment in the place of that line. */
export const changeCpuvar = (space: Workspace): Change => ({
  effect: 'change',
  argv: [
    ...['/bin/sh', '-c', `set -e; ${FORGET_KERNEL}; sed "s|$3|$4|" "$1" >"$1.new"; mv "$1.new" "$1"`],
    ...['sh', `${space.src}/${CPUVAR}`, space.workdir, LINE, MARK],
  ],
})

export const unexpectedCpuvar = (): KnoxError =>
  new KnoxError('config', `${CPUVAR} is not what knox expects: it must define cpu_id as cpuid once`, [
    'nothing was changed in it; FreeBSD 10.2 and 10.4 have that line',
  ])
