import type { MountPlace } from '../tools/zfs-receive.ts'

/**
 * Of the file systems below `target` those that would be mounted where another one is at home: a mount point that home had set
 * comes back with its dataset, and a copy must not cover its original. What is below such a copy is kept with it. Pure.
 */
export const takenPlaces = (places: readonly MountPlace[], target: string): ReadonlyMap<string, string> => {
  const isCopy = ({ dataset }: MountPlace) => dataset === target || dataset.startsWith(`${target}/`)
  const owners = new Map(
    places.filter((place) => !isCopy(place)).map(({ dataset, mountpoint }) => [mountpoint, dataset]),
  )
  const taken = new Map<string, string>()
  for (const { dataset, mountpoint } of places.filter(isCopy)) {
    const owner = owners.get(mountpoint) ?? taken.get(dataset.slice(0, dataset.lastIndexOf('/')))
    if (owner !== undefined) taken.set(dataset, owner)
  }
  return taken
}
