const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes for people, three significant figures, binary units. */
export const formatBytes = (bytes: number): string => {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  const text =
    unit === 0 || value >= 100 ? Math.round(value).toString() : value.toPrecision(value >= 10 ? 3 : 2)
  return `${text} ${UNITS[unit] ?? ''}`
}

const FACTORS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of a text such as `90m`, `6h` or `2d`; undefined if it is none. */
export const parseDuration = (text: string): number | undefined => {
  const [, count, unit] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * (FACTORS[unit ?? ''] ?? 1)
}

/** Bytes of a text such as `500M` or `2G` (binary units); undefined if it is none. */
export const parseBytes = (text: string): number | undefined => {
  const [, count, unit] = /^([1-9][0-9]{0,8})([KMGT])$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * 1024 ** (1 + 'KMGT'.indexOf(unit ?? 'K'))
}

/** Seconds for people: `42 s`, `3 min 05 s`, `2 h 10 min`, `4 d 3 h`. */
export const formatDuration = (seconds: number): string => {
  const s = Math.max(0, Math.round(seconds))
  const two = (n: number) => n.toString().padStart(2, '0')
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`
}
