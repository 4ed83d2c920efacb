import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { formatBytes } from '../core/sizes.ts'
import { run } from '../system/process.ts'
import { bundleOf } from './bundle.ts'
import { measureFlash } from './measure-flash.ts'
import { DATASETS as DATASETS_IDLE, measureIdle, SNAPSHOTS } from './measure-idle.ts'
import { must, startWorld, type World } from './world.ts'

/**
 * The bench, inside a guest of the lab: knox beside the bare `zfs send -R | ssh | zfs receive` on the same pools, link and
 * ciphers, in one run. Only ratios mean anything: the guest is an emulated machine.
 */

const write = (text: string) => void process.stdout.write(`${text}\n`)

const MIB = Number(process.env['KNOX_BENCH_MIB'] ?? '1024')
const DATASETS = 50
const ONLY = process.env['KNOX_BENCH_ONLY'] ?? ''

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

const bareOptions = (world: World): string =>
  `-F ${world.dir}/keys/ssh_config -T -o HostName=10.77.0.2 -o IdentityFile=${world.dir}/shell -o "IdentityAgent=${world.dir}/agent"`

/** One bare pipe into the box, its disk opened by hand. */
const bare = (world: World, send: string, receive: string) =>
  world.home(`zfs send ${send} | ssh ${bareOptions(world)} knox-shell zfs receive ${receive}`)

/** Runs knox under time(1); returns the peak resident memory of its largest process in bytes. */
const knox = async (world: World, ...words: readonly string[]): Promise<number> => {
  const peak = join(world.dir, 'peak')
  const program = ['node', '--no-deprecation', bundleOf('scripts/knox.ts')]
  const command = [...program, ...words, '--config', `${world.dir}/knox.yaml`]
  const counting = ['env', `PATH=${world.dir}/shims:${process.env['PATH'] ?? ''}`]
  must(await run([...counting, '/usr/bin/time', '-f', '%M', '-o', peak, ...command], { timeout: 3600 }))
  return Number((await readFile(peak, 'utf8')).trim()) * 1024
}

const open = (world: World) =>
  world.box(
    `geli attach -p -k ${world.dir}/keys/geli.key da0 && zpool import -d /dev -N -f -o cachefile=none wd`,
  )
const close = (world: World) => world.box('zpool export wd; geli detach da0')

const report = (what: string, knoxSeconds: number, bareSeconds: number): void =>
  write(
    `${what}: knox ${knoxSeconds.toFixed(1)} s, bare pipe ${bareSeconds.toFixed(1)} s, ratio ${(knoxSeconds / bareSeconds).toFixed(2)}`,
  )

/** The disk, and a copy of knox-shell's key without its passphrase, to look at the box from outside of knox. */
const prepare = async (world: World): Promise<void> => {
  must(await world.knox('prepare-disk', '--yes', '--passphrase-file', `${world.dir}/passphrase`))
  await world.home(
    `ssh-keygen -q -p -P "$(cat ${world.dir}/passphrase)" -N '' -f ${world.dir}/keys/knox-shell`,
  )
  await world.home(`cp -p ${world.dir}/keys/knox-shell ${world.dir}/shell`)
}

const bench = async (world: World): Promise<void> => {
  await prepare(world)
  write(`first send of ${MIB} MiB that do not compress`)
  await world.home(`zfs create tank/data; dd if=/dev/urandom of=data/file bs=1M count=${MIB} 2>/dev/null`)
  must(await world.knox('snapshot'))
  const first = (await world.home('zfs list -H -t snapshot -o name -d 1 tank')).trim().replace('tank@', '')
  await open(world)
  await world.box('zfs create wd/bare')
  const bareFirst = await timed(() => bare(world, `-R tank@${first}`, '-u -F -d wd/bare'))
  await world.box('zfs destroy -r wd/bare')
  await close(world)
  let peak = 0
  const knoxFirst = await timed(async () => (peak = await knox(world, 'backup')))
  report('first send', knoxFirst, bareFirst)
  write(`peak memory of knox: ${formatBytes(peak)}`)

  write(`\na small incremental over ${DATASETS} datasets`)
  await world.home(`for n in $(seq ${DATASETS}); do zfs create tank/d$n; done`)
  must(await world.knox('snapback'))
  const before = (
    await world.home('zfs list -H -t snapshot -o name -d 1 -s createtxg tank | tail -n 1')
  ).trim()
  await world.home(`for n in $(seq ${DATASETS}); do echo change > d$n/file; done`)
  must(await world.knox('snapshot'))
  const knoxSmall = await timed(() => knox(world, 'backup'))
  const after = (
    await world.home('zfs list -H -t snapshot -o name -d 1 -s createtxg tank | tail -n 1')
  ).trim()
  await open(world)
  await world.box(
    `for d in $(zfs list -H -o name -r wd); do zfs release knox "$d@${after.replace('tank@', '')}"; zfs rollback -r "$d@${before.replace('tank@', '')}"; done`,
  )
  const bareSmall = await timed(() => bare(world, `-R -I ${before} ${after}`, '-u -F -d wd'))
  await close(world)
  report('incremental', knoxSmall, bareSmall)

  await world.started()
  const knoxNothing = await timed(() => knox(world, 'backup', '--prove'))
  const programs = (await world.started()).map((line) => line.split(' ')[0])
  write(
    `\nnothing changed, and the box looked at: ${knoxNothing.toFixed(1)} s; started at home: ${programs.join(' ')}`,
  )
}

const idle = async (world: World): Promise<void> => {
  write(`\nnothing changed in ${DATASETS_IDLE} datasets with ${DATASETS_IDLE * SNAPSHOTS} snapshots`)
  const { knox: ours, syncoid } = await measureIdle(
    world,
    () => open(world),
    () => close(world),
  )
  for (const [name, { seconds, home, box }] of [
    ['knox backup --prove', ours],
    ['syncoid -r --no-sync-snap', syncoid],
  ] as const) {
    const started = Object.entries(home).map(([program, count]) => `${count} ${program}`)
    write(`${name}: ${seconds.toFixed(1)} s; at home ${started.join(', ')}; on the box ${box} zfs and zpool`)
  }
  write(`ratio of the times: ${(ours.seconds / syncoid.seconds).toFixed(3)}`)
}

/** Last of all: it slows the disks of this process down. */
const flash = async (): Promise<void> => {
  write('\nan image to a card of 8 MiB/s: dd beside what knox flash takes to write it')
  for (const { what, dd, knox: ours } of await measureFlash())
    write(`${what}: knox ${ours.toFixed(1)} s, dd ${dd.toFixed(1)} s, rate ${(dd / ours).toFixed(2)} of dd’s`)
}

const inWorld = async (): Promise<void> => {
  const world = await startWorld({ diskMib: MIB * 2 + 512, tankMib: MIB + 512 })
  try {
    if (ONLY === 'idle') await prepare(world)
    else await bench(world)
    await idle(world)
  } finally {
    await world.stop()
  }
}

try {
  if (ONLY !== 'flash') await inWorld()
  if (ONLY !== 'idle') await flash()
} catch (error) {
  write(String(error))
  process.exitCode = 1
}
