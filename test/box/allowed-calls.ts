/** Every call of a program that the box's script may ever make on a disk, a pool or a mount, as data: a new verb adds its lines. */

const POOL = 'wd'

/** zfs's own letters, below this pool; written apart from the script's, which is under test */
const isDataset = (word: string): boolean =>
  word.length <= 255 &&
  word.split('/').every((part, n) => (n === 0 ? part === POOL : /^(?!\.{1,2}$)[A-Za-z0-9_.: -]+$/.test(part)))

const isSnapshotName = (word: string): boolean => /^[A-Za-z0-9_.: -]+$/.test(word)

const isSnapshot = (word: string): boolean => {
  const [dataset = '', ...names] = word.split('@')
  return names.length === 1 && isDataset(dataset) && isSnapshotName(names[0] ?? '')
}

const isSnapshotList = (word: string): boolean => {
  const [dataset = '', ...lists] = word.split('@')
  return lists.length === 1 && isDataset(dataset) && (lists[0] ?? '').split(',').every(isSnapshotName)
}

/** What stands for a word in the forms below. */
const KINDS: Readonly<Record<string, (word: string, state: string) => boolean>> = {
  DATASET: isDataset,
  SNAPSHOT: isSnapshot,
  'SNAPSHOT-LIST': isSnapshotList,
  PLACE: (word) => isDataset(word) && word.endsWith('.knox-place'),
  RUN: (word, state) => word === `${state}/run`,
  FIFO: (word, state) => word === `${state}/run/key`,
  DISK: (word, state) => word === `${state}/dev/da0`,
  LOOK: (word, state) => word === `${state}/run/look`,
  MOUNTPOINT: (word, state) => word === `${state}/run/mnt`,
  COLUMNS: (word) => /^name,type,guid,createtxg,userrefs(,receive_resume_token)?$/.test(word),
  'ANCHOR-DAY': (word) => /^knox:anchor=([0-9]{8}|newest)$/.test(word),
  SPENT: (word) => /^knox:destroyed=[0-9]{8}:[0-9]+:[0-9]+$/.test(word),
}

/** One form a line: words, or a kind in capitals; `SNAPSHOT ...` is one or more of them. */
const FORMS = `
diskinfo -v da0
geli attach -p -k FIFO DISK
geli detach da0
geli detach -f da0
geli detach -l da0
geli status -s da0.eli
reboot -n -q
reboot -q
dumpon off
sysctl debug.debugger_on_panic=0
sysctl debug.kdb.panic=1
mount -t zfs -o ro,nosuid,noexec SNAPSHOT LOOK
umount LOOK
umount -f LOOK
zpool import -f -N -R MOUNTPOINT -o cachefile=none wd
zpool export wd
zpool export -f wd
zpool list -H -o name wd
zpool list -H -o freeing wd
zpool list -H -o guid wd
zpool scrub wd
zpool scrub -p wd
zpool status wd
zpool status -v wd
zfs list -H -o receive_resume_token wd
zfs list -H -p -o used,available wd
zfs list -H -p -r -t filesystem,volume,snapshot -o COLUMNS wd
zfs list -H -o name DATASET
zfs list -H -o name SNAPSHOT
zfs list -H -r -t snapshot -o name,userrefs -s createtxg wd
zfs list -H -r -t snapshot -o name DATASET
zfs list -H -d 1 -t filesystem,volume -o name PLACE
zfs list -H -d 1 -t snapshot -o name DATASET
zfs list -H -d 1 -t snapshot -o name -s createtxg DATASET
zfs list -H -p -d 1 -t snapshot -o guid -s createtxg DATASET
zfs get -H -r -t snapshot -s local -o name,value knox:anchor wd
zfs get -H -s local -o value knox:destroyed wd
zfs set SPENT wd
zfs set ANCHOR-DAY SNAPSHOT ...
zfs set canmount=noauto DATASET
zfs set quota=none DATASET
zfs set refquota=none DATASET
zfs set reservation=none DATASET
zfs set refreservation=none DATASET
zfs set dedup=off DATASET
zfs set readonly=on wd
zfs set compression=lz4 wd
zfs get -H -o value compression wd
zfs get -H -o source dedup DATASET
zfs hold knox SNAPSHOT ...
zfs release knox SNAPSHOT ...
zfs destroy SNAPSHOT-LIST
zfs destroy PLACE
zfs receive -u DATASET
zfs receive -u -F DATASET
zfs receive -u -s DATASET
zfs receive -u -s -F DATASET
zfs receive -A DATASET
zfs create -o canmount=noauto DATASET
zfs rename DATASET DATASET
`
  .trim()
  .split('\n')
  .map((line) => line.split(' '))

const fits = (form: readonly string[], argv: readonly string[], state: string): boolean => {
  const repeats = form.at(-1) === '...'
  const words = repeats ? form.slice(0, -1) : form
  if (repeats ? argv.length < words.length : argv.length !== words.length) return false
  return argv.every((word, n) => {
    const wanted = words[n] ?? words.at(-1) ?? ''
    return KINDS[wanted]?.(word, state) ?? word === wanted
  })
}

/** True if the script may make this call; `state` is the test box's folder. */
export const isAllowed = (argv: readonly string[], state: string): boolean =>
  FORMS.some((form) => fits(form, argv, state))

/** The programs that the script may start with no other words than those above. */
export const PROGRAMS = [...new Set(FORMS.map(([program = '']) => program))]

/** The programs besides those above that the script may start; nothing else is in its reach. */
export const TOOLS = [
  ...[
    'awk',
    'cat',
    'chmod',
    'cut',
    'date',
    'dd',
    'dirname',
    'grep',
    'head',
    'ln',
    'mkdir',
    'mkfifo',
    'mv',
    'pgrep',
    'printf',
  ],
  ...['ps', 'rm', 'rmdir', 'sed', 'sha256sum', 'sleep', 'sort', 'tail', 'tr', 'wc', 'xargs', 'cp', 'cksum'],
]
