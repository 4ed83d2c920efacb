import type { Change, Read } from '../../core/command.ts'
import { KnoxError } from '../../core/errors.ts'

/** Source trees, pinned to a revision: by git or svn, from a URL or a folder. */

/** crochet of February 2016: newer ones build no FreeBSD 10.2 (`cd stand`, sys/dts, another u-boot). */
export const CROCHET_REVISION = '65fd598f088ed5dc3c378aac931d894338b1fa4d'

export interface Tree {
  readonly name: 'freebsd' | 'crochet'
  readonly url: string
  readonly kind: 'git' | 'svn'
  /** what is asked for where no revision is pinned yet: a git branch; svn has it in the URL */
  readonly branch: string
  /** a git commit or a svn number; undefined the first time */
  readonly revision: string | undefined
  readonly folder: string
}

/** https, git, ssh and svn addresses, and absolute paths; nothing that git or svn could take for an option or a helper */
const URL_PATTERN =
  /^(?:(?:https?|git|ssh|svn|file):\/\/[A-Za-z0-9][A-Za-z0-9.:@_~/%+-]*|\/[A-Za-z0-9._/-]+)$/

/** Which program fetches it: svn:// and FreeBSD's svn server by svn, all else by git. Throws `usage` for what is no address. */
export const kindOf = (url: string): Tree['kind'] => {
  if (!URL_PATTERN.test(url))
    throw new KnoxError('usage', `${JSON.stringify(url)} is not the address of a source tree`, [
      'https://..., or an absolute path',
    ])
  return url.startsWith('svn') || /\/\/svn\./.test(url) ? 'svn' : 'git'
}

const NETWORK = [
  {
    pattern: /not our ref|no such remote ref|couldn't find remote ref|unadvertised object|No such revision/i,
    code: 'config',
    message: 'the source has no such revision',
    hints: [
      'is image.source the right one? knox.lock.json beside knox.yaml pins the revision: delete it to take the newest',
    ],
  },
  {
    pattern:
      /Could not resolve|unable to access|Connection|timed out|E170013|E730054|Network is unreachable|does not appear to be a git/i,
    code: 'unreachable',
    message: 'the source cannot be fetched',
    hints: [
      'run it again: it goes on from there; image.source in knox.yaml can name another mirror or a folder',
    ],
  },
] as const

/** a tree without git is copied once; the mark says that the copy is whole */
const COPY = [
  'if [ -f "$2/sys/conf/newvers.sh" ] && [ ! -e "$2/.git" ]; then',
  '  rm -rf "$1"; mkdir -p "$1"; cp -Rp "$2/." "$1"; echo 0 >"$1/.knox-copied"; exit 0',
  'fi',
].join('\n')

const GIT_FETCH = [
  'set -e; umask 022',
  COPY,
  'mkdir -p "$1"; cd "$1"',
  '[ -d .git ] || git init -q .',
  'rm -f .git/index.lock .git/shallow.lock',
  'git fetch -q --depth 1 "$2" "$3"',
  'git -c advice.detachedHead=false checkout -q -f FETCH_HEAD',
].join('\n')

const SVN_FETCH = [
  'set -e; umask 022',
  'svn=$(command -v svnlite || command -v svn)',
  'if [ -d "$1/.svn" ]; then "$svn" cleanup "$1"; fi',
  '"$svn" checkout -q --non-interactive -r "$3" "$2" "$1"',
  // an interrupted checkout has a working copy too; this file says that it came to its end
  'printf "%s\\n" "$3" >"$1/.svn/knox-complete"',
].join('\n')

/** Fetches the tree, or goes on with a fetch that was interrupted. Files that differ from the revision are put back. */
export const fetchTree = ({ url, kind, branch, revision, folder }: Tree): Change => ({
  effect: 'change',
  argv: [
    ...['/bin/sh', '-c', kind === 'git' ? GIT_FETCH : SVN_FETCH, 'sh', folder, url],
    revision ?? (kind === 'git' ? branch : 'HEAD'),
  ],
  failures: NETWORK,
})

const GIT_REVISION = [
  'if [ -f "$1/.knox-copied" ]; then cat "$1/.knox-copied"; exit 0; fi',
  'cd "$1" 2>/dev/null && [ -d .git ] || exit 0',
  // a checkout that was cut off lacks files
  'git diff --quiet --diff-filter=D HEAD 2>/dev/null && git rev-parse HEAD',
  'exit 0',
].join('\n')

const SVN_REVISION = [
  '[ -f "$1/.svn/knox-complete" ] || exit 0',
  'svn=$(command -v svnlite || command -v svn)',
  '"$svn" info "$1" | sed -n "s/^Revision: //p"',
].join('\n')

/** The revision of a tree that is whole, 0 for the copy of a folder; undefined if there is none, or it is not whole. */
export const treeRevision = ({ kind, folder }: Tree): Read<string | undefined> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', kind === 'git' ? GIT_REVISION : SVN_REVISION, 'sh', folder],
  parse: (stdout) => (stdout.trim() === '' ? undefined : stdout.trim()),
})
