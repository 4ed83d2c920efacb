import { announcesSnapshot, parseProgress } from '../tools/zfs-send.ts'

export interface StreamProgress {
  readonly bytes: number
}

/** Sums the bytes of a stream from zfs send's stderr, which counts anew for every snapshot. */
export const trackProgress = (onProgress: (progress: StreamProgress) => void) => {
  let done = 0
  let current = { snapshot: '', bytes: 0 }
  let changed = performance.now()
  let rest = ''
  let snapshots = 0
  const take = (line: string) => {
    if (announcesSnapshot(line)) snapshots += 1
    const progress = parseProgress(line)
    if (progress === undefined) return
    if (progress.snapshot !== current.snapshot) done += current.bytes
    if (progress.snapshot !== current.snapshot || progress.bytes !== current.bytes)
      changed = performance.now()
    current = progress
    onProgress({ bytes: done + current.bytes })
  }
  return {
    read: (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) take(line)
    },
    restart: () => {
      changed = performance.now()
    },
    /** how many snapshots the stream brings, as zfs send announces before its first byte */
    snapshots: () => snapshots,
    idleSeconds: () => (performance.now() - changed) / 1000,
  }
}
