import { writeFile } from 'node:fs/promises'
import { run } from '../system/process.ts'
import { must, type World } from './world.ts'

/** A run with nothing to send over many datasets and snapshots: knox beside syncoid, on the same pools, in one guest. */

export const DATASETS = 100
export const SNAPSHOTS = 100

export interface IdleRun {
  readonly seconds: number
  /** processes started at home, by program */
  readonly home: Readonly<Record<string, number>>
  /** zfs and zpool processes on the box */
  readonly box: number
}

const LOG = '/tmp/box-started'

/** The box's zfs and zpool count from now on. */
const countOnBox = async (world: World): Promise<void> => {
  for (const program of ['zfs', 'zpool'])
    must(
      await world.box(
        `real=$(command -v ${program}); printf '#!/bin/sh\\necho ${program} >>${LOG}\\nexec %s "$@"\\n' "$real" >/usr/local/sbin/${program}; chmod 755 /usr/local/sbin/${program}`,
      ),
    )
}

const counted = async (world: World, work: () => Promise<unknown>): Promise<IdleRun> => {
  await world.started()
  await world.box(`: >${LOG}`)
  const began = performance.now()
  await work()
  const seconds = (performance.now() - began) / 1000
  const home: Record<string, number> = {}
  for (const line of await world.started()) {
    const [program = ''] = line.split(' ')
    home[program] = (home[program] ?? 0) + 1
  }
  return { seconds, home, box: Number((await world.box(`wc -l <${LOG}`)).stdout) }
}

/** syncoid's ssh, with knox's own configuration and a key without passphrase */
const prepareSyncoid = async (world: World): Promise<void> => {
  await world.home(`mkdir -p ${world.dir}/syncoid`)
  await writeFile(
    `${world.dir}/syncoid/ssh`,
    `#!/bin/sh\nexec ${world.dir}/shims/ssh -F ${world.dir}/keys/ssh_config -o HostName=10.77.0.2 -o IdentityFile=${world.dir}/shell -o IdentityAgent=${world.dir}/agent "$@"\n`,
    { mode: 0o755 },
  )
}

/** Makes the datasets and snapshots, sends them, and lets both look again. The box's pool must be there, its disk locked. */
export const measureIdle = async (
  world: World,
  open: () => Promise<unknown>,
  close: () => Promise<unknown>,
): Promise<{ readonly knox: IdleRun; readonly syncoid: IdleRun }> => {
  await world.home(`for n in $(seq ${DATASETS}); do zfs create tank/many$n; done`)
  await world.home(`for n in $(seq ${SNAPSHOTS - 1}); do zfs snapshot -r tank@s$n; done`)
  must(await world.knox('snapback'))
  await countOnBox(world)
  const knox = await counted(world, async () => must(await world.knox('backup', '--prove')))
  await prepareSyncoid(world)
  await open()
  const path = `${world.dir}/syncoid:${world.dir}/shims:${process.env['PATH'] ?? ''}`
  const syncoid = await counted(world, async () =>
    must(
      await run(
        ['env', `PATH=${path}`, 'syncoid', '-r', '--no-sync-snap', '--quiet', 'tank', 'root@knox-shell:wd'],
        { timeout: 3600 },
      ),
    ),
  )
  await close()
  return { knox, syncoid }
}
