import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Emit } from '../../provision/core/events.ts'
import type { OpenBox } from '../../provision/runtime/open-box.ts'
import { runnerAt, type Place } from '../../provision/system/runner.ts'
import { LOOK } from '../../provision/tools/tar.ts'
import { tempFolder, withEnv, writeProgram } from './expect.ts'
import { inventory } from './simulated-box.ts'

/** A box that is open, and is a folder of this machine: its commands run here, with stand-ins for zfs and mount first in PATH. */
export interface OpenFolder {
  readonly open: OpenBox
  readonly dir: string
  /** what lies in the snapshot that is looked at */
  readonly files: string
  /** a stand-in, for the box and for home */
  readonly program: (name: string, text: string) => Promise<string>
}

/** `patience`: seconds that the box's shell gives a command by itself. */
export const openFolder = async (
  t: TestContext,
  emit: Emit,
  lines: readonly string[],
  patience = 600,
): Promise<OpenFolder> => {
  const dir = await tempFolder(t)
  const [bin, files] = [join(dir, 'bin'), join(dir, 'files')]
  for (const folder of [bin, files]) await mkdir(folder)
  withEnv(t, { PATH: `${bin}:${process.env['PATH'] ?? ''}` })
  const program = (name: string, text: string) => writeProgram(bin, name, text)
  await program('mount', ':')
  await program('umount', 'exit 1')
  const place: Place = {
    name: 'the box',
    wrap: (argv) => argv.map((word) => word.replace(LOOK, files)),
    failures: [],
  }
  const pool = { name: 'bk', guid: '77', used: 1, available: 2, disk: '', trouble: '' }
  const open = {
    inventory: { pool, datasets: inventory(...lines) },
    runner: runnerAt(place, emit, patience),
    place,
  }
  return { open, dir, files, program }
}
