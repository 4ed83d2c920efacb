import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { encodeMetadata } from '../../../provision/geli/metadata.ts'
import { backupKeys } from '../../../provision/keys/key-folder.ts'
import { cronLine } from '../../../provision/runtime/schedule.ts'
import { doctor } from '../../../scripts/doctor.ts'
import { writeProgram } from '../../support/expect.ts'
import { show } from '../../support/terminal.ts'
import { alertHome, DAY, HOUR, NOW, type AlertHome } from '../alerts/home.ts'
import { passphrase } from '../keys/helpers.ts'

/** A home whose every link is a stand-in that can be broken. */

export interface Link {
  readonly name: string
  readonly state: string
  readonly text: string
  readonly hint?: string
  readonly code?: string
}

export interface Sick extends AlertHome {
  readonly bin: string
  readonly look: () => Promise<{ readonly code: number; readonly links: readonly Link[] }>
  /** the box: what it answers to a login, and to a session, and what host key it shows who takes any */
  readonly box: (session: readonly string[], door?: string, shown?: string) => Promise<void>
}

const DOOR = 'echo "root@192.0.2.1: Permission denied (publickey)." >&2; exit 255'
const GOOD = ['say knox 1 knox locked', 'hear bye', 'say locked']

/** As ssh with StrictHostKeyChecking=no: the key that it is shown goes into the known_hosts that it was given. */
const showing = (line: string): string =>
  `for word; do case "$word" in UserKnownHostsFile=*) known="\${word#*=}" ;; esac; done
known="\${known#?}"; [ -z '${line}' ] || echo '${line}' >"\${known%?}"; exit 255`

const FAKE_BOX = join(import.meta.dirname, '../../support/fake-box.sh')
export const SCRIPT = join(import.meta.dirname, '../../../scripts/knox.mjs')

export const metadataOf = (): Buffer => {
  const empty = Buffer.alloc(512)
  const fields = { version: 7, flags: 0, ealgo: 22, keylen: 256, aalgo: 0, provsize: 2n ** 30n }
  const rest = { sectorsize: 4096, keys: 1, iterations: -1, salt: empty.subarray(0, 64) }
  return encodeMetadata({ ...fields, ...rest, mkeys: Buffer.alloc(384) } as never)
}

export const healthy = async (t: TestContext): Promise<Sick> => {
  const home = await alertHome(t)
  const bin = join(home.dir, 'bin')
  const file = join(home.dir, 'knox.yaml')
  const now = (NOW.getTime() - Date.now()) / 1000
  await home.zfs(['wd: a=1 b=2'], { 'wd@a': now + DAY, 'wd@b': now + HOUR, wd: now + DAY })
  await home.proved(now + HOUR, ['bk: a=1 b=2'])
  await writeProgram(bin, 'zpool', String.raw`printf 'ONLINE\t41%%\n'`)
  const line = cronLine({
    ...{ hour: 17, minute: 59, node: process.execPath, script: SCRIPT },
    ...{ config: file, log: join(home.folder, 'knox.log') },
  })
  await writeFile(join(home.dir, 'crontab'), `${line}\n`)
  await writeProgram(bin, 'crontab', `cat '${home.dir}/crontab'`)
  await writeFile(join(home.folder, 'geli-metadata-da0.bin'), metadataOf())
  await mkdir(join(home.dir, 'stick'))
  const box: Sick['box'] = (session, door = DOOR, shown = '') =>
    writeProgram(
      bin,
      'ssh',
      `case "$*" in\n-V) echo OpenSSH_9.2p1 >&2 ;;\n*StrictHostKeyChecking=no*) ${showing(shown)} ;;\n*PubkeyAuthentication=no*) ${door} ;;\n*) exec sh '${FAKE_BOX}' ${session.map((word) => `'${word}'`).join(' ')} ;;\nesac`,
    ).then(() => undefined)
  await box(GOOD)
  await backupKeys(home.folder, {
    ...{ boxName: 'knox', config: home.yaml, out: join(home.dir, 'stick/keys.tar'), passphrase },
    ...{ now: NOW, force: false },
  })
  return {
    ...home,
    bin,
    box,
    look: async () => {
      const { code, stdout } = await show([doctor], 'doctor', '--json', '--config', file)
      return { code, links: (JSON.parse(stdout) as { links: Link[] }).links }
    },
  }
}
