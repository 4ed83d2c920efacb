import { mkdtemp, readFile, rm, writeFile, mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { defineCommand } from '../provision/cli/command.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { checkName, NAMES, parseAddress } from '../provision/core/names.ts'
import { Secret } from '../provision/core/secret.ts'
import { configSchema } from '../provision/core/config.ts'
import { overlayOf, readBoxKeys } from '../provision/image/overlay.ts'
import { writeOverlay } from '../provision/image/write-overlay.ts'
import { initKeys } from '../provision/keys/key-folder.ts'
import { openChannel, run, tidyUp, type Output } from '../provision/system/process.ts'
import { failureOf } from '../provision/system/runner.ts'
import { SSH_FAILURES } from '../provision/tools/ssh.ts'

const GUEST_SECONDS = 3600
const SSHD_PORT = 2299
const HOST_SEEN_BY_GUEST = '10.0.2.2'
const REMOTE_SCRIPT = fileURLToPath(new URL('../provision/lab/remote-box.sh', import.meta.url))

const succeeded = (output: Output): Output => {
  if (output.exitCode === 0) return output
  throw failureOf(output, SSH_FAILURES)
}

/** A free port on loopback, for the tunnel. */
const TUNNEL_PORT = 20_000 + (process.pid % 20_000)

/** Exit: 0 all tests passed, 1 some failed, 2 words missing, 4 not confirmed, 10 unreachable, 15 no lab here. */
export const testFreebsd = defineCommand({
  name: 'test-freebsd',
  summary: 'run the end-to-end suite against a FreeBSD machine with a disk to spare',
  details: [
    'The machine keeps its own settings: the box’s sshd is a second one on its loopback, reached through your login.',
    'ALL DATA ON THE DISK IS LOST.',
  ].join('\n'),
  options: {
    box: {
      type: 'string',
      value: 'root@HOST[:PORT]',
      help: 'the machine, reached by your own ssh login as root',
    },
    disk: { type: 'string', value: 'DISK', help: 'the disk that is destroyed, such as da1' },
    only: {
      type: 'string',
      value: 'WORDS',
      help: 'after the disk is prepared only the tests whose name has these words',
    },
    identity: { type: 'string', value: 'FILE', help: 'private key of your login' },
  },
  run: async (knox) => {
    const { bundle, bundleOf } = await import('../provision/lab/bundle.ts')
    const { requireLab } = await import('../provision/lab/host.ts')
    const { runInGuest, TO_HOST } = await import('../provision/lab/microvm.ts')
    const { PASSPHRASE } = await import('../provision/lab/world.ts')
    const target = /^root@(.+)$/.exec(knox.args.text('box') ?? '')?.[1]
    const address = target === undefined ? undefined : parseAddress(target)
    const wanted = knox.args.text('disk')
    if (address === undefined || wanted === undefined)
      throw new KnoxError('usage', 'test-freebsd needs --box root@HOST[:PORT] and --disk DISK', [
        'see: knox test-freebsd --help',
      ])
    const disk = checkName(NAMES.disk, wanted)
    await requireLab()
    const identity = knox.args.text('identity')
    const login = [
      ...['ssh', '-T', '-o', 'BatchMode=yes', '-o', 'ServerAliveInterval=15', '-p', address.port.toString()],
      ...(identity === undefined ? [] : ['-i', identity, '-o', 'IdentitiesOnly=yes']),
    ]
    const who = `root@${address.host}`
    const remote = async (script: string, stdin = '') =>
      succeeded(await run([...login, who, script], { stdin, timeout: 120 }))
    const { stdout: release } = await remote('uname -sr')
    if (!release.startsWith('FreeBSD'))
      throw new KnoxError('platform', `this machine is not a FreeBSD: ${release.trim()}`)
    const { stdout: about } = await remote(`geom disk list ${disk}`)
    knox.emit({ type: 'note', text: `${release.trim()} at ${address.host} port ${address.port}` })
    for (const line of about.trim().split('\n')) knox.emit({ type: 'note', text: line })
    if (!/Mode: r0w0e0/.test(about))
      throw new KnoxError('refused', `the disk ${disk} of that machine is in use`)
    if (knox.dryRun) {
      knox.result(`would destroy ALL DATA on the disk ${disk} of ${address.host}, and run the suite`, {
        disk,
      })
      return undefined
    }
    await knox.confirm(`ALL DATA on the disk ${disk} of ${address.host} will be destroyed; go on?`)

    const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'knox-lab')
    await mkdir(cache, { recursive: true, mode: 0o700 })
    const dir = await mkdtemp(join(cache, 'freebsd-'))
    const there = `/var/tmp/${dir.split('/').at(-1) ?? ''}`
    const script = await readFile(REMOTE_SCRIPT, 'utf8')
    try {
      const keys = join(dir, 'keys')
      const options = {
        boxName: 'knox',
        passphrase: new Secret('passphrase', PASSPHRASE),
        force: false,
        now: new Date(),
      }
      await initKeys(keys, options)
      const version = /FreeBSD ([0-9]+\.[0-9]+)/.exec(release)?.[1] ?? '10.2'
      const box = configSchema.parse({
        box: { addresses: [HOST_SEEN_BY_GUEST], board: 'laptop', release: `releng/${version}`, disk },
        home: { pool: 'tank' },
      }).box
      await writeOverlay(join(dir, 'overlay'), await overlayOf(box, await readBoxKeys(keys)), false)
      succeeded(await run(['tar', '-C', join(dir, 'overlay'), '-cf', join(dir, 'overlay.tar'), '.']))
      const archive = new Secret('overlay', await readFile(join(dir, 'overlay.tar')))
      await remote(`mkdir -m 700 ${there}`)
      succeeded(await run([...login, who, `tar -xpf - -C ${there}`], { stdin: archive, timeout: 120 }))
      await remote(`/bin/sh -s up ${there}`, script)
      const forward = `127.0.0.1:${TUNNEL_PORT}:127.0.0.1:${SSHD_PORT}`
      const tunnel = openChannel([...login, '-N', '-o', 'ExitOnForwardFailure=yes', '-L', forward, who])
      await sleep(5000)
      try {
        const facts = { keys, host: HOST_SEEN_BY_GUEST, port: TUNNEL_PORT, disk }
        await writeFile(join(dir, 'box.json'), JSON.stringify(facts))
        await bundle(['test/freebsd/suite.ts'])
        const only = knox.args.text('only')
        const names = only === undefined ? [] : ['its disk is prepared', only]
        const test = [
          ...[process.execPath, '--no-deprecation', '--test'],
          ...names.map((name) => `--test-name-pattern=${name}`),
          bundleOf('test/freebsd/suite.ts'),
        ]
        const command = ['env', `KNOX_REMOTE_BOX=${join(dir, 'box.json')}`, ...test]
        const exitCode = await runInGuest(
          { command, memoryMib: 4096, seconds: GUEST_SECONDS, devices: TO_HOST },
          (line) => knox.result(line, { line }),
        )
        if (exitCode !== 0) throw new KnoxError('failed', 'some tests failed')
      } finally {
        tunnel.kill()
        await tunnel.ended
      }
    } finally {
      const down = { stdin: script, timeout: 120, evenWhenStopped: true }
      await tidyUp(() => run([...login, who, `/bin/sh -s down ${there}`], down)).catch(() => undefined)
      await rm(dir, { recursive: true, force: true })
    }
    return undefined
  },
})
