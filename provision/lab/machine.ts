import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { KnoxError } from '../core/errors.ts'
import { run, type Output } from '../system/process.ts'
import { bootGuest, type Hardware } from './microvm.ts'
import { monitor } from './monitor.ts'

/** A machine of the lab that obeys: a guest of its own, whose power can be cut and whose disk can be pulled. */
export interface Machine {
  /** Runs a shell line as root; the exit code is null if the machine was gone or the seconds were over before it ended. */
  readonly run: (line: string, seconds?: number) => Promise<Output>
  /** Starts a shell line; `said` is what it has printed up to now. */
  readonly start: (line: string, seconds?: number) => Running
  /** What QEMU does to it, see monitor.ts. */
  readonly monitor: (...commands: Parameters<typeof monitor>[1]) => Promise<void>
  /** Its power is cut, at once. Resolves when it is off. */
  readonly cut: () => Promise<void>
  readonly isOn: () => boolean
}

export interface Running {
  readonly said: () => Promise<string>
  readonly ended: Promise<Output>
}

const MACHINE_SCRIPT = fileURLToPath(new URL('../../provision/lab/machine.sh', import.meta.url))
const BOOT_SECONDS = 300

/** A line for machine.sh, to be run in a machine. */
export const machineScript = (...words: readonly string[]): string =>
  ['sh', MACHINE_SCRIPT, ...words].join(' ')

/**
 * Boots a machine. `shared` is a folder of the host that it sees at the same path. Resolves when it obeys.
 * Throws `failed` if it does not come up, `platform` if the lab cannot run here.
 */
export const startMachine = async (name: string, shared: string, hardware: Hardware): Promise<Machine> => {
  const dir = await mkdtemp(join(tmpdir(), 'knox-machine-'))
  const socket = join(dir, 'monitor')
  const pidFile = join(dir, 'pid')
  const devices = [
    ...['-fsdev', `local,id=shared,path=${shared},security_model=none`],
    ...['-device', 'virtio-9p-pci,fsdev=shared,mount_tag=shared'],
    ...['-qmp', `unix:${socket},server=on,wait=off`, '-pidfile', pidFile],
    ...(hardware.devices ?? []),
  ]
  const listen = ['sh', MACHINE_SCRIPT, 'listen', shared, name]
  const guest = await bootGuest(dir, listen, { ...hardware, devices })
  const { channel } = guest
  const waiting = new Map<string, (status: number | null) => void>()
  let on = true
  let count = 0

  /** hears what the machine says until it is gone */
  const hear = async (): Promise<void> => {
    for (let line = await channel.readLine(); line !== undefined; line = await channel.readLine()) {
      const [, id, status] = /^ended (\S+) ([0-9]+)\r?$/.exec(line) ?? []
      if (id !== undefined) waiting.get(id)?.(Number(status))
    }
    on = false
    for (const tell of waiting.values()) tell(null)
    await rm(dir, { recursive: true, force: true })
  }

  const timer = setTimeout(() => channel.kill(), BOOT_SECONDS * 1000)
  const first = await channel.readLine().finally(() => clearTimeout(timer))
  if (first?.trim() !== 'listening') {
    channel.kill()
    const { stderr } = await channel.ended
    throw new KnoxError('failed', `the lab's machine ${name} does not come up`, [
      `${first ?? ''} ${stderr}`.trim(),
      await guest.console(),
    ])
  }
  const hearing = hear()

  const start = (line: string, seconds = 300): Running => {
    count += 1
    const id = `${name}-${process.pid}-${Date.now()}-${count}`
    const read = (ending: string) => readFile(join(shared, `${id}.${ending}`), 'utf8').catch(() => '')
    const finish = async (): Promise<Output> => {
      await writeFile(join(shared, `${id}.sh`), `${line}\n`)
      const status = new Promise<number | null>((resolve) => waiting.set(id, resolve))
      if (!on) return { argv: [line], exitCode: null, signal: null, stdout: '', stderr: `${name} is off` }
      await channel.writeLine(id)
      const late = sleep(seconds * 1000, null, { ref: false })
      const exitCode = await Promise.race([status, late])
      waiting.delete(id)
      return { argv: [line], exitCode, signal: null, stdout: await read('out'), stderr: await read('err') }
    }
    return { ended: finish(), said: async () => (await read('out')) + (await read('err')) }
  }

  return {
    start,
    run: (line, seconds) => start(line, seconds).ended,
    monitor: (...commands) => monitor(socket, commands),
    cut: async () => {
      const pid = (await readFile(pidFile, 'utf8').catch(() => '')).trim()
      if (on && pid !== '') await run(['kill', '-KILL', pid])
      await hearing
    },
    isOn: () => on,
  }
}
