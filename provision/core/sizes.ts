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

/** Seconds for people: `42 s`, `3 min 05 s`, `2 h 10 min`, `4 d 3 h`. */
export const formatDuration = (seconds: number): string => {
  const s = Math.max(0, Math.round(seconds))
  const two = (n: number) => n.toString().padStart(2, '0')
  if (s < 60) return `${s} s`
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`
}
