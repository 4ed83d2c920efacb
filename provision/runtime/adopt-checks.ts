import type { Read } from '../core/command.ts'
import { Secret } from '../core/secret.ts'
import { swapDevices } from '../tools/swapinfo.ts'
import { parseFstab } from './adopt-fstab.ts'
import type { Machine } from './adopt-look.ts'
import type { PlannedFile } from './adopt-plan.ts'

/** Whether an adopted machine is, after its restart, what its files say. Pure, but for the commands that read. */

export interface Check {
  readonly what: string
  readonly ok: boolean
}

/** What runs and is mounted there. */
export interface Running {
  readonly mounts: readonly {
    readonly point: string
    readonly type: string
    readonly options: readonly string[]
  }[]
  readonly swap: readonly string[]
  /** names of the processes */
  readonly processes: readonly string[]
}

export const mountTable: Read<Running['mounts']> = {
  effect: 'read',
  argv: ['mount', '-p'],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [, point, type, options] = line.trim().split(/\s+/)
      if (point === undefined || type === undefined || options === undefined) return []
      return [{ point, type, options: options.split(',') }]
    }),
}

export const processNames: Read<Running['processes']> = {
  effect: 'read',
  argv: ['ps', '-axo', 'comm'],
  parse: (stdout) => stdout.split('\n').map((line) => line.trim()),
}

export const swapInUse: Read<readonly string[]> = swapDevices

const textOf = (files: readonly PlannedFile[], path: string): string => {
  const content = files.find((file) => file.path === path)?.content
  return typeof content === 'string' ? content : ''
}

const isAsWritten = (machine: Machine, { path, content }: PlannedFile): boolean => {
  const found = machine.files.get(path)
  // a private file is not read; that it works is proved by the login
  if (content instanceof Secret) return found?.kind === 'file'
  if (typeof content === 'string') return found?.kind === 'file' && found.bytes.equals(Buffer.from(content))
  return found?.kind === 'link' && found.to === content.linkTo
}

/** Every promise of the files, each with whether it is kept. */
export const checksOf = (
  files: readonly PlannedFile[],
  running: Running,
  machine: Machine,
): readonly Check[] => {
  const fstab = parseFstab(textOf(files, '/etc/fstab'))
  // the last one hides those before it
  const at = (point: string) => [...running.mounts].reverse().find((mount) => mount.point === point)
  const root = fstab.find(({ point }) => point === '/')
  const isReadOnly = root?.options.split(',').includes('ro') ?? false
  const terminals = textOf(files, '/etc/ttys')
    .split('\n')
    .filter((line) => /^\w+\s+"[^"]*getty[^"]*"\s.*\bon\b/.test(line)).length
  const gettys = running.processes.filter((name) => name === 'getty').length
  const runs = (name: string) => running.processes.includes(name)
  const wants = (variable: string) =>
    new RegExp(`^${variable}="?YES`, 'm').test(textOf(files, '/etc/rc.conf'))
  return [
    ...files.map((file) => ({ what: `${file.path} is as written`, ok: isAsWritten(machine, file) })),
    {
      what: `the root is mounted ${isReadOnly ? 'read-only' : 'for writing'}`,
      ok: at('/')?.options.includes('ro') === isReadOnly,
    },
    ...fstab
      .filter(({ type }) => type === 'tmpfs')
      .map(({ point }) => ({ what: `${point} is a memory disk`, ok: at(point)?.type === 'tmpfs' })),
    { what: 'no swap in the clear', ok: running.swap.every((device) => device.endsWith('.eli')) },
    ...fstab
      .filter(({ type }) => type === 'swap')
      .map(({ device }) => ({ what: `swap on ${device}`, ok: running.swap.includes(device) })),
    { what: `${terminals} login${terminals === 1 ? '' : 's'} at the console`, ok: gettys <= terminals },
    { what: 'root’s password is none or set', ok: machine.password === 'none' || machine.password === 'set' },
    ...(wants('ntpd_enable') ? [{ what: 'the clock is kept (ntpd)', ok: runs('ntpd') }] : []),
  ]
}

/** Things that not every machine can do, so that their lack is said, not blamed. */
export const remarksOf = (files: readonly PlannedFile[], running: Running): readonly string[] =>
  /^powerd_enable="?YES/m.test(textOf(files, '/etc/rc.conf')) && !running.processes.includes('powerd')
    ? ['powerd does not run; some machines cannot, and lose only some power by it']
    : []
