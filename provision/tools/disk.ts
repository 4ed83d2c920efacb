import type { Read } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import { printable } from '../core/names.ts'

/** What FreeBSD says of a disk: diskinfo(8), geom(8), and a look at its first and last mebibyte. */
export interface Disk {
  readonly name: string
  readonly description: string
  /** undefined where the USB bridge tells none */
  readonly serial: string | undefined
  readonly bytes: number
  readonly sectorBytes: number
  /** opened by anything: mounted, swap, attached by geli, part of a pool */
  readonly inUse: boolean
  readonly contents: 'blank' | 'geli' | 'data'
  /** partition table and the types in it, as gpart(8) names them; undefined if there is none */
  readonly layout?: string
}

const MIB = 1024 * 1024

/** Sections of one output, each after a line `== name`. */
const sectionsOf = (stdout: string): ReadonlyMap<string, string> =>
  new Map(
    stdout
      .split(/^== /m)
      .slice(1)
      .map((section) => {
        const end = section.indexOf('\n')
        return [section.slice(0, end), section.slice(end + 1)]
      }),
  )

/** diskinfo NAME: name, sector size, bytes, sectors ... in one line with tabs. */
const sizesOf = (line: string): { readonly sectorBytes: number; readonly bytes: number } | undefined => {
  const [, sector, bytes] = line.trim().split(/\t+/)
  const sizes = { sectorBytes: Number(sector), bytes: Number(bytes) }
  return sizes.sectorBytes > 0 && sizes.bytes > 0 ? sizes : undefined
}

const field = (geom: string, name: string): string | undefined => {
  const value = new RegExp(`^ *${name}: (.*)$`, 'm').exec(geom)?.[1]?.trim()
  return value === undefined || value === '' || value === '(null)' ? undefined : printable(value)
}

/** `gpart show -p NAME`: the line `=> START SIZE NAME SCHEME`, then `START SIZE PROVIDER TYPE` of each partition. */
const layoutOf = (shown: string): { readonly layout?: string } => {
  const scheme = /^=>\s+\d+\s+\d+\s+\S+\s+(\S+)/m.exec(shown)?.[1]
  if (scheme === undefined) return {}
  const types = [...shown.matchAll(/^\s+\d+\s+\d+\s+(?!-)\S+\s+(\S+)/gm)].map(([, type]) => type ?? '')
  return { layout: printable(types.length === 0 ? scheme : `${scheme}: ${types.join(', ')}`) }
}

/** Counts of bytes that are not zero, and whether the last sector is GELI's metadata. */
const lookScript = (disk: string): string =>
  [
    'LC_ALL=C; export LC_ALL',
    `d=/dev/${disk}`,
    '[ -e "$d" ] || exit 3',
    'echo "== diskinfo"; diskinfo "$d" || exit 4',
    `echo "== geom"; geom disk list ${disk} 2>/dev/null`,
    `echo "== parts"; gpart show -p ${disk} 2>/dev/null`,
    'size=$(diskinfo "$d" | cut -f 3); sector=$(diskinfo "$d" | cut -f 2)',
    `mib=$((size / ${MIB}))`,
    `dd if="$d" of=/dev/null bs=${MIB} count=1 2>/dev/null || exit 5`,
    `dd if="$d" of=/dev/null bs=${MIB} skip=$((mib - 1)) 2>/dev/null || exit 5`,
    `echo "== first"; dd if="$d" bs=${MIB} count=1 2>/dev/null | tr -d '\\000' | wc -c`,
    `echo "== last"; dd if="$d" bs=${MIB} skip=$((mib - 1)) 2>/dev/null | tr -d '\\000' | wc -c`,
    `echo "== label"; dd if="$d" bs="$sector" skip=$((size / sector - 1)) count=1 2>/dev/null | head -c 9`,
    'echo',
  ].join('\n')

/** Looks at a disk of the box, by one command. Throws `disk` if it is not there. */
export const readDisk = (name: string): Read<Disk> => ({
  effect: 'read',
  argv: ['/bin/sh', '-s'],
  stdin: lookScript(name),
  failures: [{ pattern: /^/, code: 'disk', message: `the box has no disk ${name} that can be read` }],
  parse: (stdout) => {
    const sections = sectionsOf(stdout)
    const sizes = sizesOf(sections.get('diskinfo') ?? '')
    const geom = sections.get('geom') ?? ''
    const mode = field(geom, 'Mode')
    if (sizes === undefined) throw new KnoxError('disk', `the size of ${name} on the box cannot be read`)
    // whatever is not plainly zero counts as data
    const isZero = (section: string) => /^\s*0\s*$/.test(sections.get(section) ?? '')
    const touched = !isZero('first') || !isZero('last')
    return {
      name,
      ...sizes,
      description: field(geom, 'descr') ?? 'unknown model',
      serial: field(geom, 'ident'),
      inUse: mode === undefined || !/^r0w0e0/.test(mode),
      contents: sections.get('label')?.startsWith('GEOM::ELI') === true ? 'geli' : touched ? 'data' : 'blank',
      ...layoutOf(sections.get('parts') ?? ''),
    }
  },
})
