import type { Config } from './config.ts'

const DATE = /^\d{4}-\d{2}-\d{2}$/

const startOf = ({ box }: Config): string => `knox-${box.name}-${box.release.replace('releng/', '')}-`

/** `knox-<box>-<release>-<date>.img` */
export const imageName = (config: Config, date: string): string => {
  if (!DATE.test(date)) throw new RangeError(`not a date: ${date}`)
  return `${startOf(config)}${date}.img`
}

/** True for a file of a publishing of this box that has not come to its end: `.knox-<box>-<release>-<date>.img.part` and the like. */
export const isUnfinished = (name: string, { box }: Config): boolean => {
  const start = `.knox-${box.name}-`
  return (
    name.startsWith(start) &&
    /^[^-]+-\d{4}-\d{2}-\d{2}\.(?:img|json)(?:\.xz)?(?:\.sha256)?\.part$/.test(name.slice(start.length))
  )
}

/** The newest image for this box among the files of a folder; undefined if there is none. */
export const newestImage = (names: readonly string[], config: Config): string | undefined => {
  const start = startOf(config)
  const images = names.filter(
    (name) =>
      name.startsWith(start) && name.endsWith('.img') && DATE.test(name.slice(start.length, -'.img'.length)),
  )
  return images.sort().at(-1)
}
