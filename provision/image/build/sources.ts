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
    pattern: /E230001|certificate/i,
    code: 'unreachable',
    message: 'the certificate of the source is not accepted',
    hints: [
      'pkg install ca_root_nss; is the clock right? image.source in knox.yaml can name another mirror or a folder',
    ],
  },
  {
    pattern: /dubious ownership/,
    code: 'config',
    message: 'git does not read a source folder of another user',
    hints: [
      'git config --global --add safe.directory FOLDER, as root on the build host; or give a copy without .git',
    ],
  },
  {
    pattern:
      /Could not resolve|unable to access|Connection|timed out|E170013|E730054|Network is unreachable|does not appear to be a git|RPC failed|early EOF|hung up unexpectedly|unexpected disconnect|E120106/i,
    code: 'unreachable',
    message: 'the source cannot be fetched',
    hints: [
      'run it again: it goes on from there; image.source in knox.yaml can name another mirror or a folder',
    ],
  },
] as const

/** in a tree that knox has made: it replaces no other. */
export const TREE_MARK = '.knox-tree'

/** `clear` empties the tree but for the mark: one that is killed in between stays knox's own. */
const BEGIN = [
  'set -e; umask 022',
  `mkdir -p "$1"; : >"$1/${TREE_MARK}"`,
  `clear() { find "$1/." -mindepth 1 -maxdepth 1 ! -name ${TREE_MARK} -exec rm -rf {} +; }`,
].join('\n')

/**
 * A folder without git is copied, a working copy of svn without what svn has in it; the mark says that the copy is whole,
 * and holds a hash of it. What changes in the folder from the first byte of the copying on is newer than the other mark,
 * which names the folder.
 */
const COPY = [
  'if { [ -f "$2/sys/conf/newvers.sh" ] || [ -f "$2/crochet.sh" ]; } && [ ! -e "$2/.git" ]; then',
  '  clear "$1"; echo "$2" >"$1/.knox-begun"; cp -Rp "$2/." "$1"; cd "$1"; rm -rf .svn',
  '  h=$(find . -type f ! -name ".knox-*" -exec cksum {} + | LC_ALL=C sort | sha256 -q)',
  '  echo "folder-$h" >.knox-copied; exit 0',
  'fi',
].join('\n')

const GIT_FETCH = [
  BEGIN,
  COPY,
  // what another way has left there would be built with it; a power cut can leave a .git that is none
  '[ ! -e "$1/.knox-copied" ] && git --git-dir "$1/.git" rev-parse >/dev/null 2>&1 || clear "$1"',
  'cd "$1"',
  '[ -d .git ] || git init -q .',
  'rm -f .git/index.lock .git/shallow.lock',
  'git fetch -q --depth 1 "$2" "$3"',
  'git -c advice.detachedHead=false checkout -q -f FETCH_HEAD',
].join('\n')

const SVN_FETCH = [
  BEGIN,
  'svn=$(command -v svnlite || command -v svn)',
  // of another address, or so damaged that svn cannot mend it
  'mend() {',
  '  [ -d "$1/.svn" ] && "$svn" cleanup "$1" && [ "$("$svn" info "$1" | sed -n "s/^URL: //p")" = "$2" ] && "$svn" revert -q -R "$1"',
  '}',
  'mend "$1" "${2%/}" 2>/dev/null || clear "$1"',
  // an interrupted checkout has a working copy too; this file says that it came to its end
  'rm -f "$1/.svn/knox-complete"',
  '"$svn" checkout -q --non-interactive -r "$3" "$2" "$1"',
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
  'if [ -f "$1/.knox-copied" ]; then',
  '  [ "$(cat "$1/.knox-begun")" = "$2" ] || exit 0',
  '  [ -n "$(find "$2" -name .svn -prune -o -newercm "$1/.knox-begun" -print 2>/dev/null | head -n 1)" ] || cat "$1/.knox-copied"; exit 0',
  'fi',
  'cd "$1" 2>/dev/null && [ -d .git ] || exit 0',
  // a checkout that was cut off lacks files
  'git diff --quiet --diff-filter=D HEAD 2>/dev/null && git rev-parse HEAD',
  'exit 0',
].join('\n')

const SVN_REVISION = [
  '[ -f "$1/.svn/knox-complete" ] || exit 0',
  'svn=$(command -v svnlite || command -v svn)',
  '"$svn" status -q "$1" | grep -q "^!" || "$svn" info "$1" | sed -n "s/^Revision: //p"',
].join('\n')

/** The revision of a tree that is whole; undefined if there is none, it is not whole, or the folder it was copied from has changed. */
export const treeRevision = ({ kind, url, folder }: Tree): Read<string | undefined> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', kind === 'git' ? GIT_REVISION : SVN_REVISION, 'sh', folder, url],
  parse: (stdout) => (stdout.trim() === '' ? undefined : stdout.trim()),
})

/** A folder has no revisions to choose from: it is taken as it is. */
export const isOfFolder = (revision: string): boolean => revision.startsWith('folder-')

/** A file of a tree that is not as the revision has it: its path, and its SHA-256 in hex unless it is gone. */
export interface ChangedFile {
  readonly path: string
  readonly sha256: string | undefined
}

const CHANGED = [
  'cd "$1" || exit 1',
  'if [ -f .knox-copied ]; then find . -type f -newercm .knox-copied ! -name ".knox-*" | cut -c 3-',
  'elif [ -d .svn ]; then svn=$(command -v svnlite || command -v svn); "$svn" status -q . | grep "^[A-Z!~]" | cut -c 9-',
  'else git diff --name-only HEAD; fi | LC_ALL=C sort | while read -r f; do',
  '  if [ -f "$f" ]; then sha256 -r "$f"; else echo "gone $f"; fi',
  'done',
].join('\n')

/** What somebody has changed in a tree since it was fetched. */
export const changedFiles = ({ folder }: Tree): Read<readonly ChangedFile[]> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', CHANGED, 'sh', folder],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [, word, path] = /^(gone|[0-9a-f]{64}) (.+)$/.exec(line) ?? []
      return path === undefined ? [] : [{ path, sha256: word === 'gone' ? undefined : word }]
    }),
})
