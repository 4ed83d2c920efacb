import { withOpenDisk } from '../../provision/lab/pair.ts'
import { attacks } from './attacks.ts'
import type { Attack, Cell } from './cell.ts'
import {
  atHomeRun,
  goodLink,
  inTurn,
  kill,
  onBoxRun,
  plugDisk,
  powerCut,
  powerCycle,
  pullDisk,
  reset,
  silence,
  slowLink,
  switchOn,
  writesFail,
  writesGoWell,
  type Injury,
} from './injuries.ts'
import { handshake, listing, locking, proving, sent, unlocking, type Moment } from './moments.ts'

/** The fault matrix: every cell of docs/faults.md. */

/** MiB of a stream that has a middle, and what of it may be on its way when it is cut */
const STREAM = 24
const ON_ITS_WAY = 4
/** what ZFS may not have written yet when the power goes: two of its groups, five seconds each, of the slow link */
const UNWRITTEN = 15

const PHASES: Readonly<Record<string, Moment>> = {
  'in the handshake': handshake,
  'while unlocking': unlocking,
  'while listing': listing,
  'while proving': proving,
  'while locking': locking,
}

const STREAM_PARTS = [0, 0.01, 0.5, 0.99] as const

const percent = (part: number): string => `at ${part * 100} % of a stream`

/** the connection is made or not, and what had gone before it may be the last word already */
const CUT = [0, 10, 12, 19]

const linkCells = (what: string, injury: Injury): readonly Cell[] => [
  ...Object.entries(PHASES).map(([when, moment]): Cell => ({
    name: `${what} ${when}`,
    moment,
    injury,
    codes: CUT,
    after: goodLink,
  })),
  ...STREAM_PARTS.map((part): Cell => ({
    name: `${what} ${percent(part)}`,
    mib: STREAM,
    before: slowLink,
    moment: sent(part),
    injury,
    codes: [17, 19],
    after: goodLink,
    resends: STREAM * (1 - part) + ON_ITS_WAY,
  })),
]

const killed = (
  name: string,
  side: 'home' | 'box',
  pattern: string,
  moment: Moment,
  codes: readonly number[],
  more: Partial<Cell> = {},
): Cell => ({
  name: `kill -9 of ${name}`,
  mib: STREAM,
  before: slowLink,
  moment,
  injury: kill(side, pattern),
  codes,
  after: goodLink,
  ...more,
})

const HALF = { resends: STREAM / 2 + ON_ITS_WAY }

const kills: readonly Cell[] = [
  // null: the shell that waits for it says 137
  killed('knox, in a stream', 'home', '[k]nox.mjs backup', sent(0.5), [137], HALF),
  killed('knox, while unlocking', 'home', '[k]nox.mjs backup', unlocking, [137]),
  killed('the session’s ssh', 'home', '[s]sh -F .*knox-send', sent(0.5), [17, 19], HALF),
  killed('the key’s ssh', 'home', '[s]sh -F .*knox-fifo', unlocking, [0, 12, 19, 21]),
  killed('zfs send', 'home', '^[z]fs send -P', sent(0.5), [16], HALF),
  killed('the session’s sshd', 'box', '^[s]shd: root', sent(0.5), [17, 19], HALF),
  killed('the box’s sshd that listens', 'box', '[s]shd.* .listener. ', sent(0.5), [0], {
    after: inTurn(goodLink, powerCycle),
  }),
  killed('the box’s session', 'box', '[k]nox-zfs-receive.sh session', sent(0.5), [17, 19], HALF),
  killed('the box’s guard', 'box', '[k]nox-zfs-receive.sh guard', sent(0.5), [0]),
  killed('zfs receive', 'box', '^[z]fs receive', sent(0.5), [17, 19], HALF),
  killed('geli attach', 'box', '[g]eli attach', unlocking, [12, 19, 21]),
  killed('the box’s key script', 'box', '[k]nox-zfs-receive.sh key', unlocking, [0, 12, 19, 21]),
]

const boxCells: readonly Cell[] = [
  ...STREAM_PARTS.map((part): Cell => ({
    name: `the box’s power is cut ${percent(part)}`,
    mib: STREAM,
    before: slowLink,
    moment: sent(part),
    injury: powerCut,
    codes: [19],
    after: inTurn(switchOn, goodLink),
    resends: STREAM * (1 - part) + ON_ITS_WAY + UNWRITTEN,
    ...(part === 0.5 ? { quick: true } : {}),
  })),
  ...Object.entries(PHASES).map(([when, moment]): Cell => ({
    name: `the box’s power is cut ${when}`,
    moment,
    injury: powerCut,
    codes: CUT,
    after: switchOn,
  })),
  {
    name: 'the disk is pulled in a stream',
    quick: true,
    mib: STREAM,
    before: slowLink,
    moment: sent(0.5),
    injury: pullDisk,
    codes: [17, 19, 20, 21],
    after: inTurn(goodLink, plugDisk),
  },
  {
    name: 'the disk is pulled while unlocking',
    moment: unlocking,
    injury: pullDisk,
    codes: [12, 19, 20, 21],
    after: plugDisk,
  },
  {
    name: 'writes to the disk fail in a stream',
    mib: STREAM,
    before: slowLink,
    moment: sent(0.5),
    injury: writesFail,
    codes: [14, 17, 19, 20, 21],
    after: inTurn(goodLink, writesGoWell),
  },
  {
    name: 'a stale fifo, with somebody who writes into it',
    before: onBoxRun(
      () =>
        'mkdir -p -m 700 /var/run/knox; mkfifo /var/run/knox/key; (cat /dev/zero >/var/run/knox/key) >/dev/null 2>&1 &',
    ),
    codes: [0],
  },
]

const hog = (pool: string, left: number): string =>
  `zfs create -o mountpoint=none -o reservation=$(($(zfs list -Hp -o available ${pool}) - ${left})) ${pool}/hog`

const fullBox: Partial<Cell> = {
  mib: 16,
  before: onBoxRun((pair) => withOpenDisk(pair, hog('wd', 8_000_000))),
  codes: [18],
  after: onBoxRun((pair) => withOpenDisk(pair, 'zfs destroy -r wd/hog')),
}

const homeCells: readonly Cell[] = [
  {
    name: 'the box’s pool is full: nothing is sent',
    codes: [18],
    ...fullBox,
  },
  {
    name: 'the box’s pool is full, in a stream that was wanted all the same',
    words: ['backup', '--accept-full-disk'],
    codes: [18],
    ...fullBox,
  },
  {
    name: 'home’s pool is full',
    before: atHomeRun(() => hog('tank', 200_000)),
    words: ['snapback'],
    codes: [0, 1, 16, 18],
    after: atHomeRun(
      () =>
        'zfs list -H -r -t snapshot -o name tank/hog | xargs -r zfs release knox:knox || :; zfs destroy -r tank/hog',
    ),
  },
  {
    name: 'a wrong key',
    before: atHomeRun(
      ({ dir }) =>
        `cd ${dir}/keys && mv geli.key right && head -c 1024 /dev/urandom >geli.key && chmod 600 geli.key`,
    ),
    codes: [12],
    after: atHomeRun(({ dir }) => `cd ${dir}/keys && mv right geli.key`),
  },
  {
    name: 'two runs at once, on the same home',
    mib: STREAM,
    before: slowLink,
    moment: sent(0.5),
    injury: async (pair) => {
      const { exitCode, stderr } = await pair.knox('backup').ended
      if (exitCode !== 11) throw new Error(`the second run ended with ${String(exitCode)}: ${stderr}`)
    },
    codes: [0],
    after: goodLink,
  },
  {
    name: 'two runs at once, on two homes',
    mib: STREAM,
    before: slowLink,
    moment: sent(0.2),
    injury: async (pair) => {
      const second = await pair.home.run(
        `cp -a ${pair.dir} ${pair.dir}2 && rm -f ${pair.dir}2/keys/lock && sed -i 's#${pair.dir}#${pair.dir}2#' ${pair.dir}2/knox.yaml
         ${pair.knoxLine('backup').replaceAll(`${pair.dir}/`, `${pair.dir}2/`)}; code=$?; rm -rf ${pair.dir}2; exit $code`,
      )
      if (second.exitCode !== 11)
        throw new Error(`the second run ended with ${String(second.exitCode)}: ${second.stderr}`)
    },
    codes: [0],
    after: goodLink,
  },
  {
    name: 'home’s clock a year ahead',
    before: atHomeRun(() => "date -s '+1 year' && hwclock -w 2>/dev/null || :"),
    words: ['snapback'],
    codes: [0],
    after: atHomeRun(() => "date -s '-1 year'"),
  },
  {
    name: 'home’s clock a year behind',
    before: atHomeRun(() => "date -s '-1 year'"),
    words: ['snapback'],
    codes: [0],
    after: atHomeRun(() => "date -s '+1 year'"),
  },
  {
    name: 'the box’s clock a year ahead',
    before: onBoxRun(() => "date -s '+1 year'"),
    codes: [0],
    after: onBoxRun(() => "date -s '-1 year'"),
  },
  {
    name: 'the box’s clock ten years behind',
    before: onBoxRun(() => "date -s '-10 years'"),
    codes: [0],
    after: onBoxRun(() => "date -s '+10 years'"),
  },
  {
    name: 'home’s state is lost, but for the keys',
    before: atHomeRun(({ dir }) => `cd ${dir}/keys && rm -f *.json known_hosts ssh_config`),
    words: ['backup'],
    codes: [0],
  },
  {
    name: 'home’s key folder is lost, until it is brought back from its copy',
    before: atHomeRun(({ dir }) => `mv ${dir}/keys ${dir}/copy`),
    words: ['backup'],
    codes: [3],
    after: atHomeRun(({ dir }) => `rm -rf ${dir}/keys; mv ${dir}/copy ${dir}/keys`),
  },
  {
    name: 'home’s key folder is read-only',
    before: atHomeRun(
      ({ dir }) => `mount --bind ${dir}/keys ${dir}/keys && mount -o remount,bind,ro ${dir}/keys`,
    ),
    words: ['backup'],
    codes: [1, 3],
    after: atHomeRun(({ dir }) => `umount ${dir}/keys`),
  },
  {
    name: 'home’s disk for its state becomes read-only in a stream',
    mib: STREAM,
    before: slowLink,
    moment: sent(0.5),
    injury: atHomeRun(
      ({ dir }) => `mount --bind ${dir}/keys ${dir}/keys && mount -o remount,bind,ro ${dir}/keys`,
    ),
    codes: [1, 3],
    after: inTurn(
      goodLink,
      atHomeRun(({ dir }) => `umount ${dir}/keys`),
    ),
  },
]

export const cells: readonly (Cell | Attack)[] = [
  ...linkCells('the link goes silent', silence),
  ...linkCells('the link is reset', reset),
  ...kills,
  ...boxCells,
  ...homeCells,
  ...attacks,
]
