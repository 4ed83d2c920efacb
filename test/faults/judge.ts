import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { waitUntil } from '../../provision/lab/monitor.ts'
import { mustRun, withOpenDisk, type Pair } from '../../provision/lab/pair.ts'
import type { Dice } from '../box/hostile-inputs.ts'
import { isAttack, type Attack, type Cell } from './cell.ts'

/** What must hold after every cell: no false success, the box locked or off, the next plain backup converges, contents equal. */

/** What the box must hold after a cell: looked at for many cells at once (`settle`), since a snapshot never changes. */
export interface Claim {
  readonly snapshot: string
  /** SHA-256 of every file at home, as lines */
  readonly hashes: string
}

export interface Verdict extends Claim {
  readonly exitCode: number | null
  /** seconds after the injury in which the box was still seen open; undefined if it never was */
  readonly openFor: number | undefined
  /** what the next plain run sent */
  readonly resent: string
}

/** the limit: a box locks itself within this many seconds of losing home */
const LOCK_SECONDS = 60
/** ssh and sshd notice a silent peer in this time, before which nothing has been lost yet */
const NOTICE_SECONDS = 40

const receiptOf = (pair: Pair): Promise<string> =>
  mustRun(pair.home, `cat ${pair.dir}/keys/receipt.json 2>/dev/null || :`)

const newestOf = async (pair: Pair): Promise<string> =>
  (await mustRun(pair.home, 'zfs list -H -d 1 -t snapshot -o name -s createtxg tank/film | tail -n 1'))
    .trim()
    .replace('tank/film@', '')

/** SHA-256 of every file of a snapshot of each dataset, as lines. */
const hashLine = (pool: string, snapshot: string): string =>
  `mkdir -p /tmp/look; for set in ${pool} ${pool}/film ${pool}/letters; do
     mount -t zfs -o ro "$set@${snapshot}" /tmp/look && (cd /tmp/look && find . -type f -exec sha256sum {} + | sort -k 2) || exit 1
     umount /tmp/look
   done`

const claimOf = async (pair: Pair): Promise<Claim> => {
  const snapshot = await newestOf(pair)
  return { snapshot, hashes: await mustRun(pair.home, hashLine('tank', snapshot)) }
}

/** Which of these snapshots the box holds, file by file. */
export const settle = async (pair: Pair, claims: readonly Claim[]): Promise<ReadonlySet<string>> => {
  const lines = claims.map(
    ({ snapshot }) => `echo 'snapshot ${snapshot}'; (${hashLine('wd', snapshot)}) || :`,
  )
  const said = await mustRun(pair.box(), withOpenDisk(pair, `{ ${lines.join('; ')}; }`), 900)
  const found = new Map(
    said
      .split(/^snapshot /m)
      .slice(1)
      .map((part) => [part.slice(0, part.indexOf('\n')), part.slice(part.indexOf('\n') + 1)]),
  )
  const same = claims.filter(({ snapshot, hashes }) => hashes !== '' && found.get(snapshot) === hashes)
  return new Set(same.map(({ snapshot }) => snapshot))
}

/** New data at home, and a snapshot of it unless the run takes one itself. */
const change = async (pair: Pair, mib: number, withSnapshot: boolean): Promise<void> => {
  await mustRun(
    pair.home,
    `cd /var/tmp/tank && rm -f film/reel && dd if=/dev/urandom of=film/reel bs=1M count=${mib} 2>/dev/null && date +%s%N >letters/last && sync`,
  )
  if (withSnapshot) await mustRun(pair.home, 'zfs snapshot -r "tank@$(date +%s%N)"')
}

const isLocked = async (pair: Pair): Promise<boolean> => (await pair.leftovers()).length === 0

/** milliseconds between two looks at the box: each keeps an emulated processor busy for a while */
const LOOK_PAUSE = 2000

/** Does work, and watches the box meanwhile and until it is locked; tells when it was last seen open. */
const watched = async <T>(pair: Pair, work: () => Promise<T>): Promise<readonly [T, number | undefined]> => {
  let over = false
  let open: number | undefined
  const look = async (): Promise<boolean> => {
    const locked = await isLocked(pair)
    if (!locked) open = Date.now()
    return locked
  }
  const watch = async (): Promise<void> => {
    while (!over) {
      await look()
      await sleep(LOOK_PAUSE)
    }
  }
  const watching = watch()
  const result = await work().finally(() => (over = true))
  await watching
  assert.ok(await waitUntil(look, LOCK_SECONDS), `still open: ${(await pair.leftovers()).join(', ')}`)
  return [result, open]
}

const MIB = 1024 * 1024

const injure = async (pair: Pair, cell: Cell): Promise<Verdict> => {
  const mib = cell.mib ?? 2
  const words = cell.words ?? ['backup', '--prove']
  const takesSnapshot = words[0] === 'snapback'
  await change(pair, mib, !takesSnapshot)
  const before = await receiptOf(pair)
  await cell.before?.(pair)
  const run = pair.knox(...words)
  await cell.moment?.({ pair, run, streamBytes: mib * MIB })
  const hurt = Date.now()
  const [{ exitCode, stdout, stderr }, open] = await watched(pair, async () => {
    await cell.injury?.(pair)
    return run.ended
  })
  const said = `${stdout}${stderr}`
  if (exitCode === null || !cell.codes.includes(exitCode))
    throw new Error(`the run ended with ${String(exitCode)}, not with ${cell.codes.join(' or ')}: ${said}`)
  const openFor = open === undefined || cell.moment === undefined ? undefined : (open - hurt) / 1000
  if (exitCode !== 0)
    assert.ok((openFor ?? 0) < LOCK_SECONDS + NOTICE_SECONDS, `it was open for ${openFor ?? 0} s`)
  await cell.after?.(pair)
  // as far as the folder can be read: a receipt says no more than what was proved
  if (exitCode !== 0) assert.equal(await receiptOf(pair), before, 'a failed run wrote a receipt')
  else assert.match(said, /proved/)
  const converged = await converge(pair, exitCode === 0 ? 0 : cell.resends)
  return { exitCode, openFor, ...converged }
}

/** One run, which must be enough. If nothing may be sent again it is one that looks at the box all the same. */
const converge = async (
  pair: Pair,
  resends: number | undefined,
): Promise<Pick<Verdict, 'resent' | keyof Claim>> => {
  const words = resends === 0 ? ['backup', '--prove'] : ['backup']
  const { exitCode, stdout, stderr } = await pair.knox(...words).ended
  const said = `${stdout}${stderr}`
  assert.equal(exitCode, 0, `the next run did not converge: ${said}`)
  const [, amount = '0', unit = 'B'] = /^sent ([0-9.]+) (B|KiB|MiB|GiB) in/m.exec(said) ?? []
  const sentMib = Number(amount) * ({ B: 1 / MIB, KiB: 1 / 1024, MiB: 1, GiB: 1024 }[unit] ?? 1)
  if (resends !== undefined)
    assert.ok(sentMib <= resends, `the next run sent ${sentMib} MiB again, more than ${resends}`)
  assert.deepEqual(await pair.leftovers(), [])
  return { resent: sentMib === 0 ? 'nothing' : `${amount} ${unit}`, ...(await claimOf(pair)) }
}

/** Does one cell and judges it; throws what did not hold. */
export const judge = async (pair: Pair, cell: Cell | Attack, dice: Dice): Promise<Verdict> => {
  if (!isAttack(cell)) return injure(pair, cell)
  await cell.attack(pair, dice)
  assert.ok(await waitUntil(() => isLocked(pair), LOCK_SECONDS), 'still open')
  await change(pair, 2, true)
  return { exitCode: null, openFor: undefined, ...(await converge(pair, undefined)) }
}

/** A pair with a proven first backup, at which every cell begins. */
export const makeReady = async (pair: Pair): Promise<void> => {
  await mustRun(pair.home, 'zfs create tank/film; zfs create tank/letters')
  const prepared = await pair.knox('prepare-disk', '--yes', '--passphrase-file', `${pair.dir}/passphrase`)
    .ended
  assert.equal(prepared.exitCode, 0, prepared.stderr)
  await mustRun(pair.home, `cp ${pair.dir}/keys/geli.key ${pair.shared}/geli.key`)
  await change(pair, 2, true)
  await converge(pair, undefined)
}
