import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unlockPrivateKey } from '../keys/key-folder.ts'
import { Secret } from '../core/secret.ts'
import { writeFileAtomic } from '../system/files.ts'
import { run } from '../system/process.ts'
import { must, PASSPHRASE, startHome, worldScript, type BoxSide, type World } from './world.ts'

/** Where the host has put the box's keys and its address for the guest; written by scripts/test-freebsd.ts. */
export interface RemoteBox {
  /** a key folder made on the host */
  readonly keys: string
  readonly host: string
  readonly port: number
  readonly disk: string
}

const remoteSide =
  (remote: RemoteBox) =>
  (dir: string): BoxSide => {
    const box = (line: string) =>
      run(
        [
          ...['ssh', '-F', `${dir}/keys/ssh_config`, '-T', '-o', `IdentityFile=${dir}/shell`],
          ...[
            '-o',
            `HostName=${remote.host}`,
            '-p',
            remote.port.toString(),
            'knox-shell',
            '--',
            '/bin/sh -s',
          ],
        ],
        { stdin: `${line}\n`, timeout: 600 },
      )
    return {
      box,
      leftovers: async () => {
        const { stdout } = await box(
          [
            `if geli status -s ${remote.disk}.eli >/dev/null 2>&1; then echo disk attached; fi`,
            'if zpool list -H wd >/dev/null 2>&1; then echo pool imported; fi',
            'if [ -e /var/run/knox/key ]; then echo fifo left; fi',
            'if [ -e /var/run/knox/session ]; then echo session lock left; fi',
            'if pgrep -f knox-zfs-receive.s[h] >/dev/null; then echo script running; fi',
            'echo looked',
          ].join('\n'),
        )
        const lines = stdout.trim().split('\n')
        return lines.pop() === 'looked' ? lines : ['the box could not be looked at']
      },
      stop: async () => {
        await worldScript('down', dir)
      },
    }
  }

/** Home in this guest, the box on a FreeBSD machine that the host has prepared. */
export const startRemoteWorld = async (remote: RemoteBox): Promise<World> => {
  const yaml = `  addresses: ["${remote.host}:${remote.port}"]\n  disk: ${remote.disk}\n`
  const world = await startHome(yaml, '  retries: 0\n', remoteSide(remote))
  await cp(remote.keys, join(world.dir, 'keys'), { recursive: true })
  must(await run(['chmod', '700', join(world.dir, 'keys')]))
  // a copy of knox-shell's key without its passphrase, to look at the box from outside of knox
  const plain = await unlockPrivateKey(
    join(world.dir, 'keys'),
    'knox-shell',
    new Secret('passphrase', PASSPHRASE),
  )
  await writeFileAtomic(join(world.dir, 'shell'), plain)
  must(await worldScript('home', world.dir, '768'))
  // the first run writes ssh_config and known_hosts
  await world.knox('status')
  await writeFile(join(world.dir, 'ready'), '')
  return world
}
