import { readFile } from 'node:fs/promises'
import type { Read } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/** What an installed machine is, as adopt-look.sh prints it. */

/** What stands at a path now; the bytes of a private file are not read. */
export type Found =
  | { readonly kind: 'file'; readonly bytes: Buffer }
  | { readonly kind: 'link'; readonly to: string }
  | { readonly kind: 'other' }

export interface Mount {
  readonly device: string
  readonly point: string
  readonly type: string
}

export interface Machine {
  /** such as 13.2 */
  readonly version: string
  /** uname -m */
  readonly machine: string
  readonly root: Mount
  /** all of mount(8), the root too */
  readonly mounts: readonly Mount[]
  /** those that are imported */
  readonly pools: readonly string[]
  /** bytes */
  readonly memory: number
  /** of the default route; undefined without one */
  readonly interface: string | undefined
  readonly password: 'empty' | 'locked' | 'none' | 'set'
  /** folders of earlier runs that nobody has decided yet */
  readonly undecided: readonly string[]
  /** files that are read after those that knox writes */
  readonly overrides: readonly string[]
  readonly files: ReadonlyMap<string, Found>
}

const OLDEST = [10, 2] as const
const MACHINES = ['amd64', 'i386', 'arm', 'arm64']
const PASSWORDS = ['empty', 'locked', 'none', 'set'] as const
const LONGEST_FILE = 1024 * 1024

const unsupported = (message: string, ...hints: string[]) => new KnoxError('platform', message, hints)
const unreadable = (what: string) => new KnoxError('failed', `the machine’s answer has no ${what}`)

interface Section {
  readonly name: string
  readonly lines: readonly string[]
}

const sectionsOf = (text: string): readonly Section[] => {
  const sections: { name: string; lines: string[] }[] = []
  for (const line of text.split('\n')) {
    // what a login prints by itself comes before the first one
    if (line.startsWith('== ')) sections.push({ name: line.slice(3), lines: [] })
    else if (line !== '') sections.at(-1)?.lines.push(line)
  }
  return sections
}

const bytesOf = (lines: readonly string[], path: string): Buffer => {
  const hex = lines.join('').replaceAll(/\s/g, '')
  if (!/^(?:[0-9a-f]{2})*$/.test(hex) || hex.length > 2 * LONGEST_FILE) throw unreadable(`readable ${path}`)
  return Buffer.from(hex, 'hex')
}

const foundOf = ({ name, lines }: Section): readonly (readonly [string, Found])[] => {
  const [, kind, path = ''] = /^(file|link|other) (\/.*)$/.exec(name) ?? []
  if (kind === 'file') return [[path, { kind, bytes: bytesOf(lines, path) }]]
  if (kind === 'link') return [[path, { kind, to: lines[0] ?? '' }]]
  return kind === 'other' ? [[path, { kind }]] : []
}

const mountsOf = (lines: readonly string[]): readonly Mount[] =>
  lines.flatMap((line) => {
    const [device, point, type] = line.split(/\s+/)
    return device === undefined || point === undefined || type === undefined ? [] : [{ device, point, type }]
  })

/** FreeBSD 10.2 and later of a machine that knox has files for; throws `platform` for any other. */
const checkedVersion = (text: string): string => {
  const [, major, minor] = /^([0-9]{1,2})\.([0-9]{1,2})-[A-Z]/.exec(text) ?? []
  if (major === undefined || minor === undefined)
    throw unsupported(`${printable(text)} is not a version of FreeBSD that knox knows`)
  const isOld = Number(major) < OLDEST[0] || (Number(major) === OLDEST[0] && Number(minor) < OLDEST[1])
  if (isOld) throw unsupported(`FreeBSD ${major}.${minor} is too old`, 'knox needs 10.2 or later')
  return `${major}.${minor}`
}

/** Reads the answer. Throws `platform` for what is not FreeBSD >= 10.2 or no known machine, `refused` without root’s rights. */
export const parseLook = (text: string): Machine => {
  const sections = sectionsOf(text)
  const linesOf = (name: string) => sections.find((section) => section.name === name)?.lines ?? []
  const first = (name: string): string => {
    const line = linesOf(name)[0]
    if (line === undefined) throw unreadable(name)
    return line.trim()
  }
  const system = first('system')
  if (system !== 'FreeBSD') throw unsupported(`this machine runs ${printable(system)}, not FreeBSD`)
  const version = checkedVersion(first('version'))
  const machine = first('machine')
  if (!MACHINES.includes(machine)) throw unsupported(`knox has no box for the machine ${printable(machine)}`)
  if (first('uid') !== '0')
    throw new KnoxError('refused', 'the login has not the rights of root', ['nothing was changed'])
  if (sections.at(-1)?.name !== 'end') throw unreadable('end')
  const password = PASSWORDS.find((word) => word === first('password'))
  const memory = Number(first('memory'))
  const mounts = mountsOf(linesOf('mounts'))
  const root = mounts.find(({ point }) => point === '/')
  if (root === undefined) throw unreadable('root file system')
  if (password === undefined || !Number.isSafeInteger(memory)) throw unreadable('password or memory')
  return {
    version,
    machine,
    root,
    mounts,
    pools: linesOf('pools'),
    memory,
    interface: linesOf('route').find((line) => /^[a-z]{2,12}[0-9]{1,4}$/.test(line)),
    password,
    undecided: linesOf('undecided'),
    overrides: linesOf('overrides'),
    files: new Map(sections.flatMap(foundOf)),
  }
}

const SCRIPT = new URL('./adopt-look.sh', import.meta.url)

/** Asks the machine for all that, and for what stands at these paths. */
export const look = async (paths: readonly string[]): Promise<Read<Machine>> => ({
  effect: 'read',
  argv: ['/bin/sh', '-s', '--', ...paths],
  stdin: await readFile(SCRIPT, 'utf8'),
  parse: parseLook,
})
