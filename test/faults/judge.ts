import assert from 'node:assert/strict'
import { waitUntil } from '../../provision/lab/monitor.ts'
import { mustRun, withOpenDisk, type Pair } from '../../provision/lab/pair.ts'
import type { Dice } from '../box/hostile-inputs.ts'
import { isAttack, type Attack, type Cell } from './cell.ts'

/** What must hold after every cell: no false success, the box locked or off, the next plain backup converges, contents equal. */

export interface Verdict {
  readonly exitCode: number | null
  /** seconds from the injury until the box was locked or off; undefined if nothing was open */
  readonly lockedAfter: number | undefined
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

const sameOnBox = async (pair: Pair): Promise<void> => {
  const snapshot = await newestOf(pair)
  const wanted = await mustRun(pair.home, hashLine('tank', snapshot))
  const found = await mustRun(pair.box(), withOpenDisk(pair, `(${hashLine('wd', snapshot)})`))
  assert.equal(found, wanted, `the box holds something else in ${snapshot}`)
}

/** New data at home, and a snapshot of it unless the run takes one itself. */
const change = async (pair: Pair, mib: number, withSnapshot: boolean): Promise<void> => {
  await mustRun(
    pair.home,
    `cd /var/tmp/tank && rm -f film/reel && dd if=/dev/urandom of=film/reel bs=1M count=${mib} 2>/dev/null && date +%s%N >letters/last && sync`,
  )
  if (!withSnapshot) return
  const { exitCode, stderr } = await pair.knox('snapshot').ended
  assert.equal(exitCode, 0, stderr)
}

const isLocked = async (pair: Pair): Promise<boolean> => (await pair.leftovers()).length === 0

const MIB = 1024 * 1024

const injure = async (pair: Pair, cell: Cell): Promise<Verdict> => {
  const mib = cell.mib ?? 2
  const words = cell.words ?? ['backup', '--prove']
  const takesSnapshot = words[0] === 'snapback'
  await change(pair, mib, !takesSnapshot)
  await cell.before?.(pair)
  const before = await receiptOf(pair)
  const run = pair.knox(...words)
  let hurt = Date.now()
  if (cell.moment !== undefined) {
    await cell.moment({ pair, run, streamBytes: mib * MIB })
    hurt = Date.now()
    await cell.injury?.(pair)
  }
  const { exitCode, stdout, stderr } = await run.ended
  const said = `${stdout}${stderr}`
  if (exitCode === null || !cell.codes.includes(exitCode))
    throw new Error(`the run ended with ${String(exitCode)}, not with ${cell.codes.join(' or ')}: ${said}`)
  assert.ok(
    await waitUntil(() => isLocked(pair), LOCK_SECONDS + NOTICE_SECONDS),
    `still open: ${(await pair.leftovers()).join(', ')}`,
  )
  const lockedAfter = (Date.now() - hurt) / 1000
  await cell.after?.(pair)
  // as far as the folder can be read: a receipt says no more than what was proved
  if (exitCode !== 0) assert.equal(await receiptOf(pair), before, 'a failed run wrote a receipt')
  else {
    assert.match(said, /proved/)
    if (pair.box().isOn()) await sameOnBox(pair)
  }
  const resent = await converge(pair, cell.resends)
  return { exitCode, lockedAfter: cell.moment === undefined ? undefined : lockedAfter, resent }
}

/** One plain run, which must be enough. Returns what it sent. */
const converge = async (pair: Pair, resends: number | undefined): Promise<string> => {
  const { exitCode, stdout, stderr } = await pair.knox('backup').ended
  const said = `${stdout}${stderr}`
  assert.equal(exitCode, 0, `the next run did not converge: ${said}`)
  const [, amount = '0', unit = 'B'] = /^sent ([0-9.]+) (B|KiB|MiB|GiB) in/m.exec(said) ?? []
  const sentMib = Number(amount) * ({ B: 1 / MIB, KiB: 1 / 1024, MiB: 1, GiB: 1024 }[unit] ?? 1)
  if (resends !== undefined)
    assert.ok(sentMib <= resends, `the next run sent ${sentMib} MiB again, more than ${resends}`)
  assert.deepEqual(await pair.leftovers(), [])
  await sameOnBox(pair)
  return /nothing to send/.test(said) ? 'nothing' : `${amount} ${unit}`
}

/** Does one cell and judges it; throws what did not hold. */
export const judge = async (pair: Pair, cell: Cell | Attack, dice: Dice): Promise<Verdict> => {
  if (!isAttack(cell)) return injure(pair, cell)
  await cell.attack(pair, dice)
  assert.ok(await waitUntil(() => isLocked(pair), LOCK_SECONDS), 'still open')
  await change(pair, 2, true)
  return { exitCode: null, lockedAfter: undefined, resent: await converge(pair, undefined) }
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
