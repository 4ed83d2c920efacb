import type { Read, StderrRule } from '../core/command.ts'

/** stat(1), sha256(1), readlink(1) and find(1) of FreeBSD 10.2 and later, over files of a mounted image. */

export interface FileFacts {
  readonly kind: 'file' | 'folder' | 'link' | 'other'
  /** permission bits */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  /** seconds since 1970 */
  readonly modified: number
}

const MISSING: StderrRule = {
  pattern: /No such file or directory/,
  code: 'verification',
  message: 'a file is missing in the image',
}

const KINDS: Readonly<Record<number, FileFacts['kind']>> = { 0o100: 'file', 0o040: 'folder', 0o120: 'link' }

/** Facts of files by path; links are not followed. Fails with `verification` if one is missing. */
export const statAll = (paths: readonly string[]): Read<ReadonlyMap<string, FileFacts>> => ({
  effect: 'read',
  argv: ['stat', '-f', '%p %u %g %m %N', ...paths],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line) => {
        const [, octal = '', uid, gid, modified, path] =
          /^([0-7]+) (\d+) (\d+) (-?\d+) (.+)$/.exec(line) ?? []
        if (path === undefined) return []
        const bits = Number.parseInt(octal, 8)
        const facts: FileFacts = {
          kind: KINDS[bits >> 9] ?? 'other',
          mode: bits & 0o7777,
          uid: Number(uid),
          gid: Number(gid),
          modified: Number(modified),
        }
        return [[path, facts] as const]
      }),
    ),
  failures: [MISSING],
})

/** SHA-256 of files by path, in hex. */
export const sha256All = (paths: readonly string[]): Read<ReadonlyMap<string, string>> => ({
  effect: 'read',
  argv: ['sha256', '-r', ...paths],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line) => {
        const [, hex, path] = /^([0-9a-f]{64})[ *]+(\/.*)$/.exec(line) ?? []
        return hex === undefined || path === undefined ? [] : [[path, hex] as const]
      }),
    ),
  failures: [MISSING],
})

/** Where a link points to. */
export const linkTarget = (path: string): Read<string> => ({
  effect: 'read',
  argv: ['readlink', path],
  parse: (stdout) => stdout.replace(/\n$/, ''),
  failures: [{ pattern: /^(?!.*not found)/s, code: 'verification', message: `${path} is not a link` }],
})

/** The paths directly in a folder whose name fits a pattern of sh(1). */
export const namesIn = (folder: string, pattern: string): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['find', folder, '-mindepth', '1', '-maxdepth', '1', '-name', pattern],
  parse: (stdout) => stdout.split('\n').filter((line) => line !== ''),
})

/** Which of these paths are symbolic links. Fails if one of them is missing. */
export const linksAmong = (paths: readonly string[]): Read<readonly string[]> => ({
  effect: 'read',
  argv: ['find', ...paths, '-maxdepth', '0', '-type', 'l'],
  parse: (stdout) => stdout.split('\n').filter((line) => line !== ''),
})
