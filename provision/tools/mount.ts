import type { Change, Read } from '../core/command.ts'
import { printable } from '../core/names.ts'

/** mount(8) of FreeBSD 10.2 and later. */

export interface Mount {
  /** such as /dev/ufs/rootfs, zroot/ROOT/default, tmpfs */
  readonly from: string
  readonly on: string
  readonly type: string
}

/**
 * `mount -p`: from, on, type, options, dump, pass, with tabs or blanks between. 10.2 writes blanks of a name as they
 * are, so the last four are counted from the end.
 */
export const mounts: Read<readonly Mount[]> = {
  effect: 'read',
  argv: ['mount', '-p'],
  parse: (stdout) =>
    stdout.split('\n').flatMap((line) => {
      const [, from, on, type] = /^(\S+)\s+(\S.*?)\s+(\S+)\s+\S+\s+\d+\s+\d+\s*$/.exec(line) ?? []
      if (from === undefined || on === undefined || type === undefined) return []
      return [{ from: printable(from), on: printable(on), type: printable(type) }]
    }),
}

export type Access = 'read-only' | 'read-write'

/** Mounts UFS; times of access are not written, so that looking at a file does not change the image. */
export const mountUfs = (device: string, on: string, access: Access): Change => ({
  effect: 'change',
  argv: ['mount', '-t', 'ufs', '-o', access === 'read-only' ? 'ro' : 'rw,noatime', device, on],
})

/** Mounts a FAT file system to be read; mount(8) hands it to mount_msdosfs(8). */
export const mountFat = (device: string, on: string): Change => ({
  effect: 'change',
  argv: ['mount', '-t', 'msdosfs', '-o', 'ro', device, on],
})

/** umount(8); `force` takes it from under whoever still has a file open. */
export const unmount = (on: string, force = false): Change => ({
  effect: 'change',
  argv: ['umount', ...(force ? ['-f'] : []), on],
})
