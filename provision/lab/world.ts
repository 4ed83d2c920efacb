import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KnoxError } from '../core/errors.ts'
import { quoteAll } from '../core/quote.ts'
import { run, type Output } from '../system/process.ts'
import { bundleOf } from './bundle.ts'

/** A home with a real pool and a real box, inside a guest of the lab. Tests, the demo and the bench live in it. */
export interface World {
  /** holds knox.yaml, the passphrase file, the key folder `keys`, home's pool mounted at `tank` */
  readonly dir: string
  /** knox at home, with --config; counts every zfs, zpool and ssh that it starts */
  readonly knox: (...words: readonly string[]) => Promise<Output>
  /** a shell line at home; throws if it fails */
  readonly home: (line: string) => Promise<string>
  /** a shell line on the box, as its root would run it */
  readonly box: (line: string) => Promise<Output>
  /** what is left unlocked on the box: nothing, if all is well */
  readonly leftovers: () => Promise<readonly string[]>
  /** until `repair`, the script (its $1 is the real program) runs at home in place of a program */
  readonly sabotage: (program: 'zfs' | 'ssh', script: string) => Promise<void>
  readonly repair: () => Promise<void>
  /** the programs that knox has started at home since the last call, one line each */
  readonly started: () => Promise<readonly string[]>
  readonly stop: () => Promise<void>
}

export interface WorldOptions {
  readonly diskMib?: number
  readonly tankMib?: number
  /** lines added to the `home:` part of knox.yaml */
  readonly homeYaml?: string
  /** `bare`: no keys yet, and the box's sshd does not run: `serveBox` starts it */
  readonly box?: 'ready' | 'bare'
}

export const PASSPHRASE = 'correct horse battery staple'
const COUNTED = ['zfs', 'zpool', 'ssh']
const WORLD_SCRIPT = fileURLToPath(new URL('../../provision/lab/world.sh', import.meta.url))

/** The output of a command that must not fail. */
export const must = (output: Output): Output => {
  if (output.exitCode === 0) return output
  throw new KnoxError('failed', `in the lab failed (${String(output.exitCode)}): ${quoteAll(output.argv)}`, [
    `${output.stdout}\n${output.stderr}`.trim().slice(-2000),
  ])
}

const writeShims = async (dir: string): Promise<void> => {
  await mkdir(join(dir, 'shims'))
  for (const program of COUNTED) {
    const { stdout } = must(await run(['sh', '-c', `command -v ${program}`]))
    const real = stdout.trim()
    const shim = [
      '#!/bin/sh',
      `printf '%s\\n' "${program} $*" >>${dir}/started`,
      // a test may put a saboteur in the place of a program; it gets the real one's path first
      `if [ -x ${dir}/sabotage-${program} ]; then exec ${dir}/sabotage-${program} ${real} "$@"; fi`,
      `exec ${real} "$@"`,
      '',
    ].join('\n')
    await writeFile(join(dir, 'shims', program), shim, { mode: 0o755 })
  }
}

/** The part of a world that depends on where the box is. */
export type BoxSide = Pick<World, 'box' | 'leftovers'> & { readonly stop: () => Promise<void> }

/** Makes home's side: folder, knox.yaml, counting shims. The pool is made by the caller. */
export const startHome = async (
  boxYaml: string,
  homeYaml: string,
  side: (dir: string) => BoxSide,
): Promise<World> => {
  const dir = await mkdtemp(join(tmpdir(), 'world-'))
  const started = join(dir, 'started')
  await writeFile(started, '')
  await writeFile(join(dir, 'passphrase'), `${PASSPHRASE}\n`, { mode: 0o600 })
  await writeFile(
    join(dir, 'knox.yaml'),
    `box:\n${boxYaml}home:\n  pool: tank\n  folder: ${dir}/keys\n${homeYaml}`,
  )
  await writeShims(dir)
  const { box, leftovers, stop } = side(dir)
  const program = ['node', '--no-deprecation', bundleOf('scripts/knox.ts')]
  return {
    dir,
    box,
    leftovers,
    knox: (...words) =>
      run(
        [
          ...['env', `PATH=${dir}/shims:${process.env['PATH'] ?? ''}`],
          ...[...program, ...words, '--config', `${dir}/knox.yaml`],
        ],
        { timeout: 1200 },
      ),
    home: async (line) =>
      must(await run(['sh', '-euc', `cd ${dir}/tank 2>/dev/null || cd ${dir}; ${line}`])).stdout,
    sabotage: (name, text) =>
      writeFile(join(dir, `sabotage-${name}`), `#!/bin/sh\n${text}\n`, { mode: 0o755 }),
    repair: async () => {
      for (const name of COUNTED) await rm(join(dir, `sabotage-${name}`), { force: true })
    },
    started: async () => {
      const lines = (await readFile(started, 'utf8')).split('\n').filter((line) => line !== '')
      await writeFile(started, '')
      return lines
    },
    stop: async () => {
      await stop()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** world.sh, see there. */
export const worldScript = (...words: readonly string[]): Promise<Output> =>
  run(['sh', WORLD_SCRIPT, ...words])

/** the box in a namespace of this guest */
const namespaceBox = (dir: string): BoxSide => ({
  box: (line) => run(['sh', '-c', `exec nsenter -t "$(cat ${dir}/sshd.pid)" -m -n sh -c "$1"`, 'sh', line]),
  leftovers: async () => {
    const looks: readonly (readonly [string, string])[] = [
      ['disk attached', 'dmsetup info da0.eli'],
      ['pool imported', 'zpool list -H wd'],
      ['fifo left', 'test -e /var/run/knox/key'],
      ['session lock left', 'test -e /var/run/knox/session'],
      ['script running', 'pgrep -f [k]nox-zfs-receive.sh'],
    ]
    const left: string[] = []
    for (const [what, line] of looks)
      if ((await run(['sh', '-c', `${line} >/dev/null 2>&1`])).exitCode === 0) left.push(what)
    return left
  },
  stop: async () => {
    await worldScript('down', dir)
  },
})

/** Makes the whole world: link, disk, pool, keys, the rendered box, its sshd. */
export const startWorld = async (options: WorldOptions = {}): Promise<World> => {
  const world = await startHome('  addresses: [10.77.0.2]\n', options.homeYaml ?? '', namespaceBox)
  const { dir, knox } = world
  const up = worldScript('up', dir, String(options.diskMib ?? 512), String(options.tankMib ?? 512))
  const bare = options.box === 'bare'
  const keys = bare ? undefined : knox('keys', 'init', '--passphrase-file', `${dir}/passphrase`)
  // side by side: both take their time on an emulated machine
  for (const output of await Promise.all([up, keys])) if (output !== undefined) must(output)
  if (!bare) await serveBox(world)
  return world
}

/** Renders the box's files by knox.yaml and the keys that there are, and starts its sshd with them. */
export const serveBox = async ({ dir, knox }: World): Promise<void> => {
  must(await knox('render', '--out', `${dir}/overlay`))
  must(await worldScript('serve', dir, `${dir}/overlay`))
}
