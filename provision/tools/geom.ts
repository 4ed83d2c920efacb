import type { Read } from '../core/command.ts'
import { printable } from '../core/names.ts'

/** geom(8) of FreeBSD 10.2 and later: `list` and `status` of a class, and trim(8) of 12.1 and later. */

/** A provider as `geom CLASS list` tells of it. */
export interface GeomProvider {
  readonly name: string
  readonly bytes: number
  readonly sectorBytes: number
  /** what the drive writes at once; 0 if it does not say */
  readonly stripeBytes: number
  /** opened by anything at all: a file system, swap, a pool, geli, a program */
  readonly inUse: boolean
  readonly description: string | undefined
  readonly serial: string | undefined
  /** md(4) only: read-only by its own word */
  readonly readOnly: boolean
}

/** The `   Key: value` lines that follow the name of a provider. */
const providerOf = (part: string): GeomProvider => {
  const [name = '', ...lines] = part.split('\n')
  const fields = new Map(
    lines.flatMap((line) => {
      const [, key, value = ''] = /^ {3}(\w+): (.*)$/.exec(line) ?? []
      return key === undefined ? [] : [[key, printable(value).trim()] as const]
    }),
  )
  const word = (key: string) => {
    const value = fields.get(key)
    return value === '' || value === '(null)' ? undefined : value
  }
  return {
    name: printable(name.trim()),
    bytes: Number.parseInt(fields.get('Mediasize') ?? '') || 0,
    sectorBytes: Number(fields.get('Sectorsize')) || 512,
    stripeBytes: Number(fields.get('Stripesize')) || 0,
    // without a mode it counts as used
    inUse: fields.get('Mode') !== 'r0w0e0',
    description: word('descr'),
    serial: word('ident'),
    readOnly: fields.get('access') === 'read-only',
  }
}

/** The providers in the output of `geom CLASS list`; the classes asked for have no consumers. */
const parseList = (stdout: string): readonly GeomProvider[] =>
  stdout
    .split(/^\d+\. Name: /m)
    .slice(1)
    .map((part) => providerOf(part.split(/^(?:Geom name|Consumers):/m)[0] ?? ''))

/** Every whole disk. */
export const geomDisks: Read<readonly GeomProvider[]> = {
  effect: 'read',
  argv: ['geom', 'disk', 'list'],
  parse: parseList,
}

/** Every memory disk of mdconfig(8); `geom` fails where there has never been one. */
export const geomMemoryDisks: Read<readonly GeomProvider[]> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'geom md list 2>/dev/null || :'],
  parse: parseList,
}

/** Labels and the provider that each stands for: `ufs/rootfs` on `mmcsd0s2a`. */
export const geomLabels: Read<ReadonlyMap<string, string>> = {
  effect: 'read',
  argv: ['/bin/sh', '-c', 'geom label status -s 2>/dev/null || :'],
  parse: (stdout) =>
    new Map(
      stdout.split('\n').flatMap((line) => {
        const [label, , component] = line.trim().split(/\s+/)
        return label !== undefined && component !== undefined ? [[label, component] as const] : []
      }),
    ),
}

/** Tells the drive that nothing on it is wanted any more. Older systems have no such program. */
export const trim = (device: string) => ({ effect: 'change', argv: ['trim', '-f', device] }) as const
