import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Config } from '../../provision/core/config.ts'
import { parseConfig } from '../../provision/system/config-file.ts'
import type { Dataset } from '../../provision/tools/zfs.ts'
import { receiptOf, writeReceipt } from '../../provision/runtime/receipt.ts'
import { tempFolder, withEnv, writeProgram } from './expect.ts'
import { inventory } from './simulated-box.ts'

/** A home whose `zfs` and `ssh` are stand-ins: zfs lists what it is told, ssh is a box that follows a script. */

const ZFS = `
here=$(dirname "$0")/..
echo "zfs $*" >>"$here/calls"
case "$*" in
  list*) cat "$here/inventory" ;;
  'send -n -P -v -t '*) if grep -q '^cannot' "$here/token"; then cat "$here/token" >&2; exit 1; fi
    cat "$here/token" ;;
  'send -n'*) if grep -qsx "\${*##* }" "$here/unknown"; then echo 'cannot estimate' >&2; exit 1; fi
    printf 'full\\tx\\t1000\\nsize\\t1000\\n' ;;
  send*) if [ -e "$here/send" ]; then exec sh "$here/send" "$@"; else head -c 1000 /dev/zero; fi ;;
  diff*) printf 'M\\t/wd/a\\n' ;;
esac`

/** the script of an address wins over the one for all; the key's connection ends with the code in the file fifo */
const SSH = `
here=$(dirname "$0")/..
echo "ssh $*" >>"$here/calls"
for word; do
  case $word in HostName=*) host=\${word#HostName=} ;; esac
  last=$word
done
if [ "$last" = knox-fifo ]; then
  cat >"$here/key"
  exit "$(cat "$here/fifo" 2>/dev/null || echo 0)"
fi
file=$here/box
[ -e "$file-$host" ] && file=$file-$host
echo >>"$here/sessions"
again=$file.$(($(wc -l <"$here/sessions")))
[ -e "$again" ] && file=$again
IFS='
'
set -f
exec sh "${join(import.meta.dirname, 'fake-box.sh')}" $(cat "$file")`

export const KEY = Buffer.from(Array.from({ length: 1024 }, (_, n) => (n * 31 + 7) % 256))

export interface StubHome {
  readonly dir: string
  readonly folder: string
  readonly config: Config
  /** PATH with the stand-ins first */
  readonly path: string
  /** what the box does; with an address what it does there */
  readonly box: (script: readonly string[], address?: string) => Promise<void>
  /** what it does when it is called for the second time */
  readonly boxAgain: (script: readonly string[]) => Promise<void>
  readonly zfs: (...lines: readonly string[]) => Promise<void>
  /**
   * a file that the stand-ins look for: send (a script for zfs send, with its arguments), unknown (what it cannot estimate,
   * dataset@snapshot), fifo (an exit code), token (what it stands for)
   */
  readonly file: (name: 'send' | 'unknown' | 'fifo' | 'token', text: string) => Promise<void>
  /** the programs that were started, in order */
  readonly calls: () => Promise<readonly string[]>
  readonly keySent: () => Promise<Buffer | undefined>
}

const linesOf = (datasets: readonly Dataset[]): readonly string[] =>
  datasets.flatMap(({ name, snapshots }, n) => [
    `${name}\tfilesystem\t9${n}\t1`,
    ...snapshots.map((one) => `${name}@${one.name}\tsnapshot\t${one.guid}\t${one.createtxg}`),
  ])

/** The lines of a box's list, in the words of fake-box.sh. */
export const listed = (...lines: readonly string[]): readonly string[] => listedWith(2000, ...lines)

/** The same, of a box that has so many bytes left. */
export const listedWith = (available: number, ...lines: readonly string[]): readonly string[] => [
  'hear list',
  `say bk|pool|77|1000|${available}`,
  ...linesOf(inventory(...lines)).map((line) => `say ${line.replaceAll('\t', '|')}`),
  'say end',
]

export const stubHome = async (t: TestContext, addresses = ['192.0.2.1']): Promise<StubHome> => {
  const dir = await tempFolder(t)
  const folder = join(dir, 'keys')
  await mkdir(folder, { mode: 0o700 })
  await mkdir(join(dir, 'bin'))
  await writeProgram(join(dir, 'bin'), 'zfs', ZFS)
  await writeProgram(join(dir, 'bin'), 'ssh', SSH)
  await writeFile(join(folder, 'ssh_host_ed25519_key.pub'), 'ssh-ed25519 AAAA box\n')
  await writeFile(join(folder, 'geli.key'), KEY, { mode: 0o600 })
  const yaml = `box:\n  addresses: [${addresses.join(', ')}]\n  pool: bk\nhome:\n  pool: wd\n  folder: ${folder}\n  retries: 0\n`
  await writeFile(join(dir, 'knox.yaml'), yaml)
  const text = (name: string) => readFile(join(dir, name), 'utf8').catch(() => '')
  return {
    dir,
    folder,
    config: parseConfig(yaml, 'knox.yaml'),
    path: `${join(dir, 'bin')}:${process.env['PATH'] ?? ''}`,
    box: (script, address) =>
      writeFile(join(dir, address === undefined ? 'box' : `box-${address}`), `${script.join('\n')}\n`),
    boxAgain: (script) => writeFile(join(dir, 'box.2'), `${script.join('\n')}\n`),
    zfs: (...lines) => writeFile(join(dir, 'inventory'), `${linesOf(inventory(...lines)).join('\n')}\n`),
    file: (name, content) => writeFile(join(dir, name), content),
    calls: async () => (await text('calls')).split('\n').slice(0, -1),
    keySent: () => readFile(join(dir, 'key')).catch(() => undefined),
  }
}

/** A home with snapshots 1 and 2, and in its receipt a box that has the first. */
export const homeBehind = async (t: TestContext, addresses?: string[]): Promise<StubHome> => {
  const home = await stubHome(t, addresses)
  withEnv(t, { PATH: home.path })
  await home.zfs('wd: a=1 b=2')
  await remember(home, 'bk: a=1')
  return home
}

/** Keeps a receipt: what the box had, which box it was, and how many seconds ago. */
export const remember = (home: StubHome, line: string, box = 'knox', age = 0) => {
  const pool = { name: 'bk', guid: '77', used: 1, available: 2, disk: '', trouble: '' }
  return writeReceipt(
    home.folder,
    receiptOf(box, undefined, { pool, datasets: inventory(line) }, new Date(Date.now() - age * 1000)),
  )
}
