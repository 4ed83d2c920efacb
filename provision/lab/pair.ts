import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KnoxError } from '../core/errors.ts'
import { quoteAll } from '../core/quote.ts'
import { bundleOf } from './bundle.ts'
import { machineScript, startMachine, type Machine, type Running } from './machine.ts'
import { PASSPHRASE } from './world.ts'

/** Home and box as two machines with a cable between them: for faults that one machine cannot have. */
export interface Pair {
  readonly home: Machine
  /** the box; another machine after each start */
  readonly box: () => Machine
  /** knox at home, its key folder is `keys` */
  readonly knox: (...words: readonly string[]) => Running
  /** the shell line that `knox` runs */
  readonly knoxLine: (...words: readonly string[]) => string
  /** holds knox.yaml, `keys` and `passphrase` on home */
  readonly dir: string
  /** seen by host, home and box at the same path */
  readonly shared: string
  /** Switches a box on that is off. */
  readonly switchOn: () => Promise<void>
  /** The disk is pulled, or plugged in again. */
  readonly pull: () => Promise<void>
  readonly plug: () => Promise<void>
  /** What is unlocked on the box; nothing if it is off. */
  readonly leftovers: () => Promise<readonly string[]>
  readonly stop: () => Promise<void>
}

const DIR = '/var/tmp/world'
const BOX_ADDRESS = '10.77.0.2'

/** The output of a line that must not fail. */
export const mustRun = async (machine: Machine, line: string, seconds?: number): Promise<string> => {
  const { exitCode, stdout, stderr } = await machine.run(line, seconds)
  if (exitCode === 0) return stdout
  throw new KnoxError('failed', `in the lab failed (${String(exitCode)}): ${line}`, [
    `${stdout}\n${stderr}`.trim().slice(-2000),
  ])
}

/** A line for the box that does this with the disk open, its pool imported; fails if the line does. geli.key is in `shared`. */
export const withOpenDisk = ({ shared }: Pick<Pair, 'shared'>, line: string): string =>
  `geli attach -p -k ${shared}/geli.key da0 && zpool import -d /dev -N -f -o cachefile=none wd && { ${line}; code=$?; zpool export wd; geli detach da0; [ $code -eq 0 ]; }`

const LOOK = [
  'if [ -e /dev/da0.eli ]; then echo disk attached; fi',
  'if zpool list -H wd >/dev/null 2>&1; then echo pool imported; fi',
  'if [ -e /var/run/knox/key ]; then echo fifo left; fi',
  'if [ -e /var/run/knox/session ]; then echo session lock left; fi',
  'if pgrep -f "[k]nox-zfs-receive.sh" >/dev/null; then echo script running; fi',
  'echo looked',
].join('\n')

const yaml = (extra: string): string =>
  `box:\n  addresses: [${BOX_ADDRESS}]\nhome:\n  pool: tank\n  folder: ${DIR}/keys\n${extra}`

/** One end of the cable; home's listens, and takes a box that comes again. */
const cable = (socket: string, end: 'home' | 'box'): readonly string[] => [
  ...['-netdev', `stream,id=net,server=${end === 'home' ? 'on' : 'off'},addr.type=unix,addr.path=${socket}`],
  ...['-device', 'virtio-net-pci,netdev=net'],
]

export interface PairOptions {
  readonly diskMib: number
  readonly tankMib: number
  /** lines added to the `home:` part of knox.yaml */
  readonly homeYaml: string
}

/** Makes home, with a pool and keys, and a box that serves; its disk is not prepared yet. */
export const startPair = async ({ diskMib, tankMib, homeYaml }: PairOptions): Promise<Pair> => {
  const shared = await mkdtemp(join(tmpdir(), 'knox-pair-'))
  const disk = join(shared, 'disk.img')
  const socket = join(shared, 'cable')
  await writeFile(disk, '')
  await truncate(disk, diskMib * 1024 * 1024)
  const boxDevices = [
    ...cable(socket, 'box'),
    ...[
      '-blockdev',
      `driver=file,node-name=disk,cache.no-flush=on,filename=${disk}`,
      '-device',
      'virtio-scsi-pci,id=scsi',
    ],
    ...['-device', 'scsi-hd,id=da0,bus=scsi.0,drive=disk'],
  ]
  let box: Machine | undefined
  const theBox = (): Machine => {
    if (box === undefined) throw new KnoxError('failed', 'the box was never switched on')
    return box
  }
  const boot = async (): Promise<void> => {
    box = await startMachine('box', shared, { memoryMib: 2048, devices: boxDevices })
    await mustRun(box, machineScript('box', shared, join(shared, 'overlay')))
  }
  const home = await startMachine('home', shared, { memoryMib: 3072, devices: cable(socket, 'home') })
  const program = ['node', '--no-deprecation', bundleOf('scripts/knox.ts')]
  const knoxLine: Pair['knoxLine'] = (...words) =>
    quoteAll([...program, ...words, '--config', `${DIR}/knox.yaml`])
  const knox: Pair['knox'] = (...words) => home.start(`exec ${knoxLine(...words)}`, 600)
  const must = async (running: Running): Promise<void> => {
    const { exitCode, stderr } = await running.ended
    if (exitCode !== 0)
      throw new KnoxError('failed', `knox failed in the lab (${String(exitCode)})`, [stderr])
  }

  await mustRun(home, machineScript('home', shared, tankMib.toString()))
  await mustRun(
    home,
    [
      `mkdir -p ${DIR}`,
      `printf '%s\\n' ${quoteAll([PASSPHRASE])} >${DIR}/passphrase`,
      `printf '%s' ${quoteAll([yaml(homeYaml)])} >${DIR}/knox.yaml`,
      `chmod 600 ${DIR}/passphrase`,
    ].join(' && '),
  )
  await must(knox('keys', 'init', '--passphrase-file', `${DIR}/passphrase`))
  await must(knox('render', '--out', join(shared, 'overlay')))
  await boot()

  return {
    home,
    box: theBox,
    knox,
    knoxLine,
    dir: DIR,
    shared,
    switchOn: boot,
    pull: () => theBox().monitor(['device_del', { id: 'da0' }]),
    plug: () =>
      theBox().monitor(['device_add', { driver: 'scsi-hd', id: 'da0', bus: 'scsi.0', drive: 'disk' }]),
    leftovers: async () => {
      if (!theBox().isOn()) return []
      const { stdout } = await theBox().run(LOOK, 60)
      const lines = stdout.trim().split('\n')
      if (lines.pop() === 'looked') return lines
      return theBox().isOn() ? ['the box could not be looked at'] : []
    },
    stop: async () => {
      await home.cut()
      await box?.cut()
      await rm(shared, { recursive: true, force: true })
    },
  }
}
