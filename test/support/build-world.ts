import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tempFolder, writeProgram } from './expect.ts'
import { imageWorld, STAND_INS, type ImageWorld } from './image-world.ts'

/** A build host of stand-ins: small git repositories play the sources, test/freebsd/crochet plays crochet. */

const KNOX = resolve(import.meta.dirname, '../../scripts/knox.mjs')
const CROCHET = resolve(import.meta.dirname, '../freebsd/crochet/crochet.sh')

export const CPUVAR = 'sys/cddl/compat/opensolaris/sys/cpuvar.h'

export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface BuildWorld extends ImageWorld {
  readonly work: string
  readonly out: string
  /** `knox build-image` */
  readonly start: (...words: readonly string[]) => {
    readonly kill: (signal: NodeJS.Signals) => void
    readonly ended: Promise<Ran>
    /** what it has written to stderr so far */
    readonly said: () => string
  }
  readonly build: (...words: readonly string[]) => Promise<Ran>
  /** a switch of the stand-ins: a file in their world */
  readonly set: (name: string, text?: string) => Promise<void>
  readonly has: (name: string) => boolean
  /** how often crochet was begun */
  readonly crochets: () => Promise<number>
  readonly images: () => Promise<readonly string[]>
  /** forgets which revision of FreeBSD was built */
  readonly pinCrochet: () => Promise<void>
  readonly writeYaml: (image: Readonly<Record<string, string>>) => Promise<void>
}

const git = (folder: string, ...words: readonly string[]): string =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.net', ...words], {
    cwd: folder,
    encoding: 'utf8',
  }).trim()

const commitAll = (folder: string): string => {
  git(folder, 'init', '-q', '-b', 'releng/10.2', '.')
  git(folder, 'add', '-A')
  git(folder, 'commit', '-q', '-m', 'as it is')
  return git(folder, 'rev-parse', 'HEAD')
}

/** What knox looks at of a FreeBSD tree. */
export const writeFreebsd = async (folder: string): Promise<void> => {
  await mkdir(join(folder, 'sys/arm/conf'), { recursive: true })
  await mkdir(join(folder, CPUVAR, '..'), { recursive: true })
  await mkdir(join(folder, 'sys/conf'), { recursive: true })
  await writeFile(join(folder, 'sys/conf/newvers.sh'), 'REVISION="10.2"\n')
  await writeFile(join(folder, 'Makefile'), '')
  await writeFile(join(folder, 'sys/arm/conf/RPI-B'), 'ident\t\tRPI-B\n')
  await writeFile(join(folder, CPUVAR), '#define\tcpu_seqid\tcpuid\n#define\tcpu_id\tcpuid\n#define\tother\n')
}

/** Makes it; the environment points at the stand-ins until the test ends. */
export const buildWorld = async (t: TestContext): Promise<BuildWorld> => {
  const world = await imageWorld(t)
  const { dir } = world
  const [source, crochet, work, out] = ['source', 'crochet.git', 'work', 'out'].map((name) => join(dir, name))
  if (source === undefined || crochet === undefined || work === undefined || out === undefined)
    throw new Error()
  await writeFreebsd(source)
  await mkdir(crochet)
  await copyFile(CROCHET, join(crochet, 'crochet.sh'))
  await chmod(join(crochet, 'crochet.sh'), 0o755)
  const revisions = { freebsd: commitAll(source), crochet: commitAll(crochet) }
  const writeYaml = async (image: Readonly<Record<string, string>>): Promise<void> => {
    const all = { source, crochet, ...image }
    const lines = Object.entries(all).map(([key, value]) => `  ${key}: ${value}\n`)
    await writeFile(
      join(dir, 'knox.yaml'),
      `box:\n  addresses: []\nhome:\n  pool: wd\n  folder: ${world.keys}\nimage:\n${lines.join('')}`,
    )
  }
  await writeYaml({})
  // the real crochet is pinned by knox itself
  const pin = (freebsd: string) =>
    writeFile(
      join(dir, 'knox.lock.json'),
      JSON.stringify({
        freebsd: { url: freebsd, revision: revisions.freebsd },
        crochet: { url: crochet, revision: revisions.crochet },
      }),
    )
  await pin(source)
  const set = (name: string, text = '') => writeFile(join(world.world, name), text)
  await set('u-boot')
  const start: BuildWorld['start'] = (...words) => {
    const child = spawn(process.execPath, [KNOX, 'build-image', '--work', work, '--out', out, ...words], {
      cwd: dir,
      env: { ...process.env, HOME: dir, PATH: `${STAND_INS}:${process.env['PATH'] ?? ''}` },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }))
    return { kill: (signal) => void child.kill(signal), ended, said: () => stderr }
  }
  t.after(() => rm(work, { recursive: true, force: true }))
  return {
    ...world,
    ...{ work, out, start, set, writeYaml },
    pinCrochet: () => pin('elsewhere'),
    build: (...words) => start(...words).ended,
    has: (name) => existsSync(join(world.world, name)),
    crochets: async () =>
      ((await readFile(join(world.world, 'log'), 'utf8')).match(/^crochet\.sh/gm) ?? []).length,
    images: async () => (await readdir(out).catch(() => [])).sort(),
  }
}

export const ok = ({ code, stderr }: Ran): void => assert.equal(code, 0, stderr)
export const fails = ({ code, stderr }: Ran, wanted: number, pattern: RegExp): void => {
  assert.equal(code, wanted, stderr)
  assert.match(stderr, pattern)
}
export const nothingLeft = async (world: BuildWorld): Promise<void> =>
  assert.deepEqual(await world.leftovers(), [])
export const until = async (ready: () => boolean): Promise<void> => {
  // a machine under load takes its time
  for (let n = 0; n < 3600 && !ready(); n += 1) await sleep(50)
  assert.ok(ready())
}

/**
 * image.builder with a stand-in for ssh: the words after -- go to a login shell here, as sshd does; csh is what FreeBSD's root
 * has. What runs there lives on when ssh is gone, as at a distance.
 */
export const useSsh = async (t: TestContext, world: BuildWorld): Promise<void> => {
  const bin = await tempFolder(t)
  const shell = spawnSync('sh', ['-c', 'command -v tcsh']).status === 0 ? 'tcsh -f' : 'sh'
  await writeProgram(
    bin,
    'ssh',
    `while [ "$1" != -- ]; do last=$1; shift; done; [ "$last" = root@builder.lan ] || exit 255; exec 3<&0; setsid ${shell} -c "$2" <&3 & exec 3<&-; wait $!`,
  )
  world.usePath(`${bin}:${process.env['PATH'] ?? ''}`)
  await world.writeYaml({ builder: 'root@builder.lan:2222' })
}

/** Writes down the calls of xz, of which a runner knows nothing; a dry run must print just these, in their order. */
export const watchXz = async (t: TestContext, world: BuildWorld) => {
  const bin = await tempFolder(t)
  const log = join(bin, 'log')
  const xz = execFileSync('sh', ['-c', 'command -v xz'], { encoding: 'utf8' }).trim()
  await writeProgram(bin, 'xz', `echo "xz $*" >>${log}; exec ${xz} "$@"`)
  world.usePath(`${bin}:${process.env['PATH'] ?? ''}`)
  return {
    areThoseOf: async (...words: readonly string[]): Promise<void> => {
      const ran = (await readFile(log, 'utf8')).trim().split('\n')
      const { stdout } = await world.build('--dry-run', ...words)
      assert.deepEqual(
        stdout.split('\n').filter((line) => line.startsWith('xz ')),
        // a part of a script that takes the image at a distance
        ran.filter((line) => line !== 'xz -d -c --no-sparse'),
      )
    },
  }
}
