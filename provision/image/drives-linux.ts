import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Reader } from '../core/command.ts'
import { lsblk, type BlockNode } from '../tools/lsblk.ts'
import { SYSTEM_MOUNTS, type Drive, type Drives, type Part } from './drives.ts'

/** what lsblk calls `dm` is a device-mapper table made by hand; those of LVM and encryption have names of their own */
const WHOLE = ['disk', 'loop', 'dm', 'mpath']

const PART_WORDS: Readonly<Record<string, string>> = {
  part: 'a partition',
  lvm: 'a logical volume',
  crypt: 'an encrypted volume',
  rom: 'a CD drive',
}

const flatten = (node: BlockNode): readonly BlockNode[] => [node, ...node.children.flatMap(flatten)]

const pathOf = (node: BlockNode): string => node.names[0] ?? ''

const driveOf = (node: BlockNode): Drive => {
  const all = flatten(node)
  const mounts = [...new Set(all.flatMap((one) => one.mounts))]
  return {
    path: pathOf(node),
    aliases: node.names.slice(1),
    model: node.model ?? 'unknown model',
    serial: node.serial,
    bus: node.bus,
    bytes: node.bytes,
    sectorBytes: node.sectorBytes,
    readOnly: node.readOnly,
    virtual: node.type !== 'disk' || /^\/dev\/(?:zram|ram|nbd|zd)\d/.test(pathOf(node)),
    system: mounts.some((mount) => SYSTEM_MOUNTS.includes(mount) || mount === '[SWAP]'),
    uses: mounts.map((mount) => (mount === '[SWAP]' ? 'swap' : mount)),
    holds: all.flatMap(({ holds }) => holds ?? []),
  }
}

/** What is no drive, by the drive that it stands on. */
const partsOf = (node: BlockNode, drive: string): readonly Part[] =>
  node.children.flatMap((child) => {
    const isWhole = WHOLE.includes(child.type)
    const part = {
      names: child.names,
      what: PART_WORDS[child.type] ?? `a device of type ${child.type}`,
      drive,
    }
    return [...(isWhole ? [] : [part]), ...partsOf(child, isWhole ? pathOf(child) : drive)]
  })

/** Drives and parts in the answer of lsblk. A device on several disks comes several times there, and counts once. */
export const drivesIn = (nodes: readonly BlockNode[]): Drives => {
  const drives = new Map<string, Drive>()
  for (const node of nodes.flatMap(flatten))
    if (WHOLE.includes(node.type)) drives.set(pathOf(node), driveOf(node))
  return { drives: [...drives.values()], parts: nodes.flatMap((node) => partsOf(node, pathOf(node))) }
}

/**
 * The kernel lets nobody have a drive alone while a file system, swap, LVM, RAID or a pool has it or a part of it, in
 * whatever mount namespace. Looking needs the right to read it; without it the answer is left to the real opening.
 */
const isClaimed = async (path: string): Promise<boolean> => {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_EXCL | constants.O_NONBLOCK)
    await file.close()
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY'
  }
}

/** The drives of this Linux machine, by lsblk and a look at who has them. */
export const readDrivesLinux = async (reader: Reader): Promise<Drives> => {
  const { drives, parts } = drivesIn(await reader.read(lsblk))
  const looked = drives.map(async (drive) =>
    drive.uses.length === 0 && drive.bytes > 0 && (await isClaimed(drive.path))
      ? { ...drive, uses: ['a pool, LVM, RAID or another program has it'] }
      : drive,
  )
  return { drives: await Promise.all(looked), parts }
}
