import type { Read } from '../core/command.ts'

/** xz(1) of XZ Utils 5.0 and later, in FreeBSD's base system. */

/** The bytes that a .xz file unpacks to, by its own index; it fails for a file that is cut off. */
export const xzUnpackedBytes = (path: string): Read<number> => ({
  effect: 'read',
  argv: ['xz', '--robot', '--list', '--', path],
  parse: (stdout) => Number(/^totals(?:\t[^\t]*){3}\t(\d+)\t/m.exec(stdout)?.[1] ?? 0),
  failures: [
    {
      pattern: /^(?!.*not found)/s,
      code: 'config',
      message: `the image is not a whole .xz file: ${path}`,
      hints: ['it may have been cut off on its way: fetch it again'],
    },
  ],
})

/** The argv that writes the unpacked file to stdout; it exits with 1 at the first damaged block. */
export const xzUnpack = (path: string): readonly string[] => ['xz', '--decompress', '--stdout', '--', path]

/** The argv that writes the packed file to stdout. One thread, so that the same bytes are packed the same way everywhere. */
export const xzPack = (path: string): readonly string[] => [
  ...['xz', '--compress', '--format=xz', '-6', '--threads=1', '--stdout', '--', path],
]
