import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { getPriority } from 'node:os'
import { join, relative } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { configSchema } from '../../../../provision/core/config.ts'
import type { Event } from '../../../../provision/core/events.ts'
import { buildActions } from '../../../../provision/image/build/build.ts'
import { builderPlace } from '../../../../provision/image/build/builder.ts'
import { fileChanges, isOurChange, rootMib } from '../../../../provision/image/build/changes.ts'
import {
  errorLines,
  errorsIn,
  logBegun,
  logNamed,
  phaseOf,
  runCrochet,
} from '../../../../provision/image/build/crochet.ts'
import { ABSENT, checkKernel } from '../../../../provision/image/build/kernel-check.ts'
import { kindOf } from '../../../../provision/image/build/sources.ts'
import { workspaceOf } from '../../../../provision/image/build/workspace.ts'
import { HERE } from '../../../../provision/system/runner.ts'
import { knoxError, tempFolder, writeProgram } from '../../../support/expect.ts'
import { overlay } from '../helpers.ts'

describe('the words of crochet', () => {
  test('its phases and the logs that it names are known', () => {
    assert.match(phaseOf('Building FreeBSD armv6 world at Mon Nov 23') ?? '', /world/)
    assert.match(phaseOf('Using FreeBSD armv6-RPI-B-ZFS kernel from previous build') ?? '', /before/)
    assert.equal(phaseOf('    (Logging to /x)'), undefined)
    assert.equal(logNamed('Log in /w/_.buildworld.armv6.log'), '/w/_.buildworld.armv6.log')
    assert.equal(logNamed('    Log: /w/_.installworld.armv6.log'), '/w/_.installworld.armv6.log')
    assert.equal(logNamed('Log in to the machine'), undefined)
    assert.equal(logBegun('    (Logging to /w/_.buildworld.armv6.log)'), '/w/_.buildworld.armv6.log')
    assert.equal(logBegun('Logging to nothing'), undefined)
  })

  test('of a long log the real errors are shown, and not the echo of make', () => {
    const echo = Array.from({ length: 5000 }, (_, n) => `make[${n % 9}]: stopped in /usr/src`)
    const log = [
      'cc -c a.c',
      'a.c:1:2: error: unknown type',
      '1 error generated.',
      '*** Error code 1',
      ...echo,
    ].join('\n')
    assert.deepEqual(errorLines(log), ['a.c:1:2: error: unknown type'])
    assert.deepEqual(errorLines('config: line 3: syntax error\n*** [kernel] Error code 1\n'), [
      'config: line 3: syntax error',
    ])
    assert.deepEqual(errorLines(['a', 'b', 'c', 'd', '*** Error code 2', ...echo].join('\n')), [
      'b',
      'c',
      'd',
      '*** Error code 2',
    ])
    assert.deepEqual(errorLines('one\ntwo\n\u001b[2Jthree\nfour\n'), ['two', '?[2Jthree', 'four'])
    assert.deepEqual(errorLines(''), [])
    const benign = Array.from({ length: 9 }, (_, n) => `rm: ${n}.o: No such file or directory`)
    const real = 'a.c:1:1: error: no'
    const later = 'b.c:1:1: error: of a job that ran beside it'
    assert.deepEqual(errorLines([...benign, real, '*** [a.o] Error code 1', later].join('\n')), [real])
    assert.equal(errorLines([...benign, '*** Error code 1'].join('\n')).length, 8)
  })
})

/** A workspace with a program in the place of crochet. */
const runOf = async (t: TestContext, program: string) => {
  const space = workspaceOf(await tempFolder(t))
  await mkdir(space.crochet)
  await writeFile(join(space.crochet, 'crochet.sh'), program)
  const titles: string[] = []
  const emit = (event: Event) => {
    if (event.type === 'step') titles.push(event.title)
  }
  return { space, titles, result: await runCrochet(space, HERE, emit, 50) }
}

describe('a crochet that runs', () => {
  test('for hours shows what make does, and its log is the one with the errors if make ends without a word', async (t) => {
    const log = join(await tempFolder(t), 'make.log')
    const { titles, result } = await runOf(
      t,
      `echo 'cc -c zfs.c' >${log}; echo '    (Logging to ${log})'; sleep 1; exit 2`,
    )
    assert.match(titles.at(-1) ?? '', /: cc -c zfs\.c$/)
    assert.deepEqual(result, { failed: true, log })
  })

  test('has its errors in its own log once it speaks again, and is nice', async (t) => {
    const { space, result } = await runOf(
      t,
      `echo '    (Logging to /x)'; echo "nice $(ps -o nice= -p $$)"; echo 'gpart: no'; exit 1`,
    )
    assert.deepEqual(result, { failed: true, log: space.log })
    const [, nice] = /nice +(\d+)/.exec(await readFile(space.log, 'utf8')) ?? []
    assert.equal(Number(nice), Math.min(19, getPriority() + 20))
  })

  test('of a long log only what stands before the first echo is read', async (t) => {
    const log = join(await tempFolder(t), 'log')
    const many = (text: string, n: number) => `${text}\n`.repeat(n)
    await writeFile(
      log,
      `${many('cc', 2000)}a.c:1:1: error: no\n*** [a.o] Error code 1\n${many('stopped', 5000)}`,
    )
    const { argv, parse } = errorsIn(log)
    const { stdout } = spawnSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8' })
    assert.equal(stdout.split('\n').length, 501)
    assert.deepEqual(parse(stdout), ['a.c:1:1: error: no'])
    const none = spawnSync('sh', [...errorsIn('/nonesuch').argv.slice(1)], { encoding: 'utf8' })
    assert.deepEqual([none.status, none.stdout, none.stderr], [0, '', ''])
  })
})

describe('what config made of the kernel', () => {
  const good = [
    ...['KERN_IDENT=RPI-B-ZFS', 'MODULES_EXTRA=dtb/rpi opensolaris zfs', '#define KSTACK_PAGES 6', ''],
  ].join('\n')
  const { argv, parse } = checkKernel(workspaceOf('/nonesuch'))

  test('is looked at: nothing of it may be another than it should be', () => {
    assert.doesNotThrow(() => parse(good))
    for (const [from, to, pattern] of [
      ['RPI-B-ZFS', 'RPI-B', /not the kernel RPI-B-ZFS/],
      [' opensolaris zfs', '', /without the modules opensolaris, zfs/],
      ['KERN', 'DEBUG=-g\nKERN', /with DEBUG/],
      ['PAGES 6', 'PAGES 2', /without KSTACK_PAGES=6/],
      ['#define', '#define DDB 1\n#define QUOTA 1\n#define', /with QUOTA, DDB/],
    ] as const)
      assert.throws(() => parse(good.replace(from, to)), knoxError('verification', pattern))
  })

  test('is none where there are no objects', () => {
    const { status, stdout, stderr } = spawnSync('sh', argv.slice(1), { encoding: 'utf8' })
    assert.deepEqual([status, stderr], [0, ''])
    assert.throws(() => parse(stdout), knoxError('verification', /not the kernel/))
  })
})

describe('what a build is told', () => {
  test('crochet is the one of February 2016, where nothing is pinned', async (t) => {
    const config = configSchema.parse({ box: { addresses: [] }, home: { pool: 'wd' } })
    const stages = await buildActions(config, '/work', join(await tempFolder(t), 'knox.lock.json'))
    const fetches = stages.find(({ stage }) => stage === 'sources')?.commands.map((words) => words.at(-1))
    assert.ok(fetches?.includes('65fd598f088ed5dc3c378aac931d894338b1fa4d'), fetches?.join(' '))
  })

  test('its own files are not taken for the owner’s changes, also half written', () => {
    for (const path of ['sys/arm/conf/RPI-B-ZFS', 'sys/cddl/compat/opensolaris/sys/cpuvar.h'])
      assert.deepEqual([path, `${path}.new`].map(isOurChange), [true, true])
    assert.equal(isOurChange('sys/arm/conf/RPI-B'), false)
  })

  test('the root file system takes four fifths of the card, as in the tutorial (facts 11.19)', () => {
    assert.deepEqual(['3900mb', '8gb', '4gib', '1300mb'].map(rootMib), [3000, 6100, 3300, 900])
    for (const size of ['1gb', '1m', '0mb', 'x'])
      assert.throws(() => rootMib(size), knoxError('config'), size)
  })

  test('sources come by svn or git, and from nothing that could be an option or a helper', () => {
    assert.equal(kindOf('https://svn.freebsd.org/base/releng/10.2'), 'svn')
    assert.equal(kindOf('https://git.freebsd.org/src.git'), 'git')
    assert.equal(kindOf('/usr/src.git'), 'git')
    for (const url of [
      '--upload-pack=id',
      'ext::sh -c id',
      'https://a b',
      '-r',
      '',
      'src',
      "/x'y",
      'file:///a\nb',
    ])
      assert.throws(() => kindOf(url), knoxError('usage'), url)
  })

  test('the options that must not be in the kernel are those that its configuration takes out', async () => {
    const text = await readFile(new URL('../../../../kernconf/RPI-B-ZFS', import.meta.url), 'utf8')
    assert.deepEqual(
      [...text.matchAll(/^nooptions (.*)$/gm)].map(([, name]) => name),
      ABSENT,
    )
  })

  test('a builder is a user at a host, and nothing else', () => {
    for (const text of [
      'root',
      '@host',
      'root@',
      'root@-oProxyCommand=id',
      '-l root@host',
      'root@a b',
      'Root@h',
    ])
      assert.throws(() => builderPlace(text), knoxError('config'), text)
    const words = builderPlace('root@builder.lan:2222').wrap(['echo', "it's", 'a!b\nc'])
    assert.deepEqual(words.slice(-4, -1), ['2222', 'root@builder.lan', '--'])
    const line = words.at(-1) ?? ''
    assert.ok(!/[!\n]/.test(line))
    for (const shell of ['sh', 'bash', 'mksh', 'tcsh']) {
      const { stdout, error } = spawnSync(shell, ['-c', line], { encoding: 'utf8' })
      if (error === undefined) assert.equal(stdout, "it's a!b\nc\n", shell)
    }
  })
})

const source = process.env['KNOX_CROCHET_SRC']
const skip =
  source === undefined ? 'KNOX_CROCHET_SRC is not set: no crochet of February 2016 to try it on' : false

test(
  'crochet’s own shell code takes knox’s configuration and makes the layout of it',
  { skip },
  async (t) => {
    const dir = await tempFolder(t)
    const space = workspaceOf(join(dir, 'work'))
    const config = (await fileChanges(space, '3900mb')).find(({ path }) => path === space.configFile)
    await mkdir(space.folder)
    await writeFile(space.configFile, config?.content ?? '')
    // stand-ins for what would touch a disk; they write down their words
    const bin = join(dir, 'bin')
    await mkdir(bin)
    for (const program of ['gpart', 'newfs', 'newfs_msdos', 'tunefs', 'mdconfig', 'sysctl'])
      await writeProgram(
        bin,
        program,
        `echo "${program} $*" >>'${dir}/log'; case "${program} $1" in "mdconfig -a") echo md0 ;; "gpart add") echo "md0s$(grep -c '^gpart add .*md0$' '${dir}/log') added" ;; "gpart create") echo created ;; sysctl*) echo 1 ;; esac`,
      )
    const driver = [
      'set -e; TOPDIR=$1; LIBDIR=$1/lib; WORKDIR=$1/work; VERBOSE=0',
      // a builtin of FreeBSD's sh
      'type setvar >/dev/null 2>&1 || setvar() { eval "$1=\\$2"; }',
      '. $LIBDIR/strategy.sh',
      'for f in board config customize disk email freebsd gpt scm uboot util; do . $LIBDIR/$f.sh; done',
      'load_config "$2"',
      'mkdir -p "$WORKDIR"',
      'for P in $PHASE_IMAGE_BUILD_LWW $PHASE_PARTITION_LWW; do _CURRENT_PHASE=$P; run_phase; done',
      'echo "kernconf $KERNCONF src $FREEBSD_SRC workdir $WORKDIR arch $TARGET_ARCH"',
    ].join('\n')
    const ran = spawnSync('sh', ['-c', driver, 'crochet', source ?? '', space.configFile], {
      encoding: 'utf8',
      env: { ...process.env, PATH: `${bin}:${process.env['PATH'] ?? ''}` },
    })
    assert.equal(ran.status, 0, `${ran.stdout}${ran.stderr}`)
    assert.match(
      ran.stdout,
      new RegExp(`kernconf RPI-B-ZFS src ${space.src} workdir ${space.workdir} arch armv6`),
    )
    const log = (await readFile(join(dir, 'log'), 'utf8')).split('\n')
    assert.match(
      log.find((line) => line.startsWith('mdconfig')) ?? '',
      new RegExp(`^mdconfig -a -t vnode -f ${space.raw} `),
    )
    const layout = log.filter((line) => /^gpart (?:create|add)/.test(line))
    assert.match(layout[0] ?? '', /create -s MBR md0/)
    assert.match(layout[1] ?? '', /add .*-s 17m.* md0/)
    assert.ok(
      layout.some((line) => /add .*-s 3000m.*md0/.test(line)),
      log.join('\n'),
    )
    assert.match(layout.at(-1) ?? '', /^gpart add -t freebsd md0$/)
  },
)

test(
  'crochet’s own overlay functions lay its files and those of its work folder; knox replaces its settings',
  {
    skip:
      skip !== false
        ? skip
        : spawnSync('cpio', ['--version']).error === undefined
          ? false
          : 'no cpio(1) here',
  },
  async (t) => {
    const dir = await tempFolder(t)
    const [root, workdir] = [join(dir, 'root'), join(dir, 'work')]
    await mkdir(root)
    await mkdir(join(workdir, 'overlay'), { recursive: true })
    await writeFile(join(workdir, 'overlay/own'), 'of the owner')
    const driver = [
      'set -e; TOPDIR=$1; LIBDIR=$1/lib; WORKDIR=$2; BOARD_FREEBSD_MOUNTPOINT=$3',
      '. $LIBDIR/strategy.sh; . $LIBDIR/board.sh; . $LIBDIR/customize.sh',
      'board_overlay_files $TOPDIR/board/RaspberryPi; customize_overlay_files',
    ].join('\n')
    const ran = spawnSync('sh', ['-c', driver, 'crochet', source ?? '', workdir, root], { encoding: 'utf8' })
    assert.equal(ran.status, 0, ran.stderr)
    assert.equal(await readFile(join(root, 'own'), 'utf8'), 'of the owner')
    const laid = (await readdir(root, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && entry.name !== 'own')
      .map((entry) => join('/', relative(root, join(entry.parentPath, entry.name))))
    const rendered = (await overlay()).map(({ path }) => path)
    // loader.rc is what starts the Forth loader, which reads knox's loader.conf
    assert.deepEqual(
      laid.filter((path) => !rendered.includes(path)),
      ['/boot/loader.rc'],
    )
    assert.ok(laid.length > 1, laid.join('\n'))
  },
)
