import { cp, mkdir, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, type TestContext } from 'node:test'
import { Secret } from '../../provision/core/secret.ts'
import { initMetadata } from '../../provision/geli/init.ts'
import { encodeMetadata } from '../../provision/geli/metadata.ts'
import { initKeys } from '../../provision/keys/key-folder.ts'
import { prepareDisk } from '../../scripts/prepare-disk.ts'
import { tempFolder, withEnv, writeProgram } from './expect.ts'
import { show, type Shown } from './terminal.ts'

/**
 * A box whose root shell is sh on this machine, in a folder: its disk da0 is a file with GELI's own metadata, its /dev, /var/run and
 * /root are folders. geli and zpool are stand-ins that take the words of prepare-disk and no others, and write down what they did.
 */

const SSH = `
state=$(dirname "$0")/../state
for word; do
  case $word in
    ControlPath=*) control=\${word#ControlPath=} ;;
    ControlMaster=yes) master=yes ;;
  esac
  last=$word
done
if [ "\${master:-}" = yes ]; then : >"$control"; exec cat >/dev/null; fi
moved() { sed "s#/dev/da#$state/dev/da#g; s#/var/run/#$state/run/#g; s#/root/#$state/root/#g"; }
command=$(printf '%s' "$last" | moved)
export STATE=$state
case $last in
  '/bin/sh -s'*) moved | sh -c "$command" ;;
  *'cat >/dev/null'*) exit 1 ;; # how fast the link is, is not measured
  *) exec sh -c "$command" ;;
esac`

/** its key is the file right-key, its metadata the disk's last sector; da0.eli is there while it is attached */
const GELI = `
case $* in status* | backup*) ;; *) echo "geli $1" >>"$STATE/did" ;; esac
disk=$STATE/dev/da0
last=$(($(wc -c <"$disk") / 512 - 1))
case $* in
  'status -s') [ ! -e "$disk.eli" ] || echo 'da0.eli  ACTIVE  da0' ;;
  'backup da0 '*) dd if="$disk" bs=512 skip="$last" of="$3" 2>/dev/null ;;
  'init -B none -e AES-XTS -l 128 -s 4096 -P -K - '"$disk")
    cat >"$STATE/right-key"
    dd if="$STATE/next-metadata" of="$disk" bs=512 seek="$last" conv=notrunc 2>/dev/null
    rm -f "$STATE/pool" ;;
  'attach -p -k - '*)
    [ "$5" = "$disk" ] || [ "$5" = /dev/da0 ] || exit 64
    [ ! -e "$disk.eli" ] || { echo 'geli: Cannot access da0 (error=1).' >&2; exit 1; }
    cmp -s - "$STATE/right-key" || { echo 'geli: Wrong key for da0.' >&2; exit 1; }
    : >"$disk.eli" ;;
  'detach da0')
    [ -e "$disk.eli" ] && [ ! -e "$STATE/imported" ] || { echo 'geli: Cannot destroy device da0.eli (error=16).' >&2; exit 1; }
    rm "$disk.eli" ;;
  *) echo "geli: unexpected: $*" >&2; exit 64 ;;
esac`

/** the pool bk is on the disk if there is a file pool; named-already are other pools */
const ZPOOL = `
case $* in
  'list -H -o name') echo zroot; cat "$STATE/pools" 2>/dev/null; [ ! -e "$STATE/imported" ] || echo bk; exit 0 ;;
esac
echo "zpool $1" >>"$STATE/did"
case $* in
  "import -f -N -R $STATE/run/knox/mnt -o readonly=on -o cachefile=none bk" | "import -f -N -R $STATE/run/knox/mnt -o cachefile=none bk")
    [ -e "$STATE/dev/da0.eli" ] && [ -e "$STATE/pool" ] || { echo "cannot import 'bk': no such pool available" >&2; exit 1; }
    : >"$STATE/imported" ;;
  'create '*' bk da0.eli') [ -e "$STATE/dev/da0.eli" ] || exit 1; : >"$STATE/pool"; : >"$STATE/imported" ;;
  'export bk') rm "$STATE/imported" 2>/dev/null || { echo "cannot open 'bk': no such pool" >&2; exit 1; } ;;
  *) echo "zpool: unexpected: $*" >&2; exit 64 ;;
esac`

const DISK_BYTES = 64 * 1024 * 1024
const GEOM = `
[ "$1 $2" = 'disk list' ] || exit 64
mode=r0w0e0
[ ! -e "$STATE/dev/da0.eli" ] || mode=r1w1e1
printf 'Geom name: da0\\nProviders:\\n1. Name: da0\\n   Mediasize: ${DISK_BYTES} (64M)\\n   Sectorsize: 512\\n   Mode: %s\\n   descr: WD\\n   ident: X1\\n' $mode`

const PASSPHRASE = 'words for the keys'

/** made once: sealing them takes a while */
let keys: Promise<string> | undefined
const makeKeys = async (): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'knox-test-'))
  const passphrase = new Secret('passphrase', PASSPHRASE)
  await initKeys(folder, { boxName: 'knox', passphrase, force: false, now: new Date() })
  return folder
}
after(async () => {
  if (keys !== undefined) await rm(await keys, { recursive: true, force: true })
})

export interface DiskBox {
  readonly folder: string
  /** when the disk was written to, in nanoseconds */
  readonly written: () => Promise<bigint>
  /** the disk's last sector */
  readonly metadata: () => Promise<Buffer>
  /** what geli and zpool did since the last call, such as `geli attach` */
  readonly did: () => Promise<readonly string[]>
  /** the state of the stand-ins: `pool`, `pools`, `right-key` */
  readonly state: (name: string) => string
  /** `knox prepare-disk` with these words, without a terminal */
  readonly prepare: (...words: readonly string[]) => Promise<Shown>
}

const metadataFor = async (key: Buffer): Promise<Buffer> =>
  encodeMetadata(await initMetadata({ provsize: DISK_BYTES, sectorsize: 4096, keyFiles: [key] }))

/** Its disk opens with the key in the key folder, or with another one, and holds a pool. No copy of its metadata is at home. */
export const diskBox = async (t: TestContext, whose: 'own' | 'other'): Promise<DiskBox> => {
  const dir = await tempFolder(t)
  const [bin, folder] = [join(dir, 'bin'), join(dir, 'keys')]
  const state = (name: string) => join(dir, 'state', name)
  for (const path of [bin, ...['dev', 'run', 'root'].map(state)]) await mkdir(path, { recursive: true })
  const programs = { ssh: SSH, geli: GELI, zpool: ZPOOL, geom: GEOM, gpart: 'exit 1' }
  for (const [name, text] of Object.entries(programs)) await writeProgram(bin, name, text)
  await writeProgram(
    bin,
    'diskinfo',
    `printf '%s\\t512\\t${DISK_BYTES}\\t${DISK_BYTES / 512}\\t0\\t0\\n' "$1"`,
  )
  await cp(await (keys ??= makeKeys()), folder, { recursive: true })
  const key = await readFile(join(folder, 'geli.key'))
  const opens = whose === 'own' ? key : Buffer.alloc(1024, 7)
  const disk = state('dev/da0')
  await writeFile(disk, '')
  await truncate(disk, DISK_BYTES - 512)
  await writeFile(disk, await metadataFor(opens), { flag: 'a' })
  await writeFile(disk, 'a label of the pool', { flag: 'r+' })
  await writeFile(state('right-key'), opens)
  await writeFile(state('next-metadata'), await metadataFor(key))
  await writeFile(state('pool'), '')
  const yaml = `box:\n  addresses: [192.0.2.1]\n  pool: bk\nhome:\n  pool: wd\n  folder: ${folder}\n`
  await writeFile(join(dir, 'knox.yaml'), yaml)
  await writeFile(join(dir, 'pass'), `${PASSPHRASE}\n`, { mode: 0o600 })
  withEnv(t, { PATH: `${bin}:${process.env['PATH'] ?? ''}` })
  const common = ['--config', join(dir, 'knox.yaml'), '--passphrase-file', join(dir, 'pass')]
  return {
    folder,
    state,
    written: async () => (await stat(disk, { bigint: true })).mtimeNs,
    metadata: async () => {
      const file = await open(disk)
      const { buffer } = await file.read({ buffer: Buffer.alloc(512), position: DISK_BYTES - 512 })
      await file.close()
      return buffer
    },
    did: async () => {
      const text = await readFile(state('did'), 'utf8').catch(() => '')
      await writeFile(state('did'), '')
      return text.split('\n').slice(0, -1)
    },
    prepare: (...words) => show([prepareDisk], 'prepare-disk', ...common, ...words),
  }
}
