import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import type { World } from '../../provision/lab/world.ts'
import type { Output } from '../../provision/system/process.ts'

/** What the lab's tests ask of a world, and of what a run has left. */

/** The run ended with this code, and said this. */
export const ended = (output: Output, exitCode: number, pattern?: RegExp): void => {
  const said = `${output.stdout}\n${output.stderr}`
  assert.equal(output.exitCode, exitCode, said)
  if (pattern !== undefined) assert.match(said, pattern)
}

/** After every run, good or bad: disk detached, pool exported, no fifo, no lock, no process. */
export const lockedAgain = async (world: World): Promise<void> =>
  assert.deepEqual(await world.leftovers(), [])

/** Waits until the box has locked itself, a minute at the most. */
export const lockedInTime = async (world: World): Promise<void> => {
  for (let waited = 0; waited < 60 && (await world.leftovers()).length > 0; waited += 1)
    await world.home('sleep 1')
  await lockedAgain(world)
}

/** The time of the last receipt. */
export const provedAt = async (world: World): Promise<string> => {
  const receipt = JSON.parse(await readFile(`${world.dir}/keys/receipt.json`, 'utf8')) as { provedAt: string }
  return receipt.provedAt
}

export const prepareDisk = (world: World, ...words: readonly string[]): Promise<Output> =>
  world.knox('prepare-disk', '--passphrase-file', `${world.dir}/passphrase`, ...words)

/** Runs work with the box's disk opened by hand, its pool imported read-only. */
export const withOpenDisk = async <T>(world: World, work: () => Promise<T>): Promise<T> => {
  const opened = await world.box(
    `geli attach -p -k ${world.dir}/keys/geli.key da0 && zpool import -d /dev -N -f -o readonly=on -o cachefile=none wd`,
  )
  assert.equal(opened.exitCode, 0, opened.stderr)
  try {
    return await work()
  } finally {
    await world.box('zpool export wd; geli detach da0')
  }
}

/** SHA-256 of every file of a snapshot, at home or on the box, where it is mounted read-only for that. */
export const hashes = async (world: World, snapshot: string): Promise<string> =>
  world.home(
    `mkdir -p ${world.dir}/look; mount -t zfs -o ro '${snapshot}' ${world.dir}/look; ` +
      `(cd ${world.dir}/look && find . -type f -exec sha256sum {} + | sort); umount ${world.dir}/look`,
  )

/** As if the snapshots that only the box has had been gone at home for 40 days already. */
export const passGrace = async (world: World): Promise<void> => {
  const path = `${world.dir}/keys/deletions.json`
  const text = await readFile(path, 'utf8')
  const since = new Date(Date.now() - 40 * 86_400_000).toISOString()
  await writeFile(
    path,
    text.replaceAll(/"since": "[^"]*"/g, `"since": "${since}"`).replaceAll(/"days": [0-9]+/g, '"days": 9'),
  )
}

/** The name of home's newest snapshot. */
export const newestSnapshot = async (world: World): Promise<string> =>
  (await world.home('zfs list -H -d 1 -t snapshot -o name -s createtxg tank | tail -n 1'))
    .trim()
    .replace('tank@', '')
