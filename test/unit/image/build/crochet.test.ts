import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { builderPlace } from '../../../../provision/image/build/builder.ts'
import { fileChanges, rootMib } from '../../../../provision/image/build/changes.ts'
import { errorLines, logNamed, phaseOf } from '../../../../provision/image/build/crochet.ts'
import { ABSENT } from '../../../../provision/image/build/kernel-check.ts'
import { lookAtHost, problemsOf, releaseWarning } from '../../../../provision/image/build/preflight.ts'
import { kindOf } from '../../../../provision/image/build/sources.ts'
import { workspaceOf } from '../../../../provision/image/build/workspace.ts'
import { knoxError, tempFolder, writeProgram } from '../../../support/expect.ts'

describe('the words of crochet', () => {
  test('its phases and the logs that it names are known', () => {
    assert.match(phaseOf('Building FreeBSD armv6 world at Mon Nov 23') ?? '', /world/)
    assert.match(phaseOf('Using FreeBSD armv6-RPI-B-ZFS kernel from previous build') ?? '', /before/)
    assert.equal(phaseOf('    (Logging to /x)'), undefined)
    assert.equal(logNamed('Log in /w/_.buildworld.armv6.log'), '/w/_.buildworld.armv6.log')
    assert.equal(logNamed('    Log: /w/_.installworld.armv6.log'), '/w/_.installworld.armv6.log')
    assert.equal(logNamed('Log in to the machine'), undefined)
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
  })
})

describe('what a build is told', () => {
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

  const hostOf = (said: string) => lookAtHost(workspaceOf('/work')).parse(said)
  const IMAGE = 4 * 2 ** 30

  test('a host that lacks everything is told everything at once, with the command that mends it', () => {
    const problems = problemsOf(hostOf('system FreeBSD\nuid 1001\nroom 1000\n'), 'svn', IMAGE)
    const mends = [/run as root/, /pkg install git/, /pkg install python/, /pkg install dtc/]
    for (const mend of [...mends, /pkg install subversion/, /u-boot\.img is missing/, /15\.0 GiB.*--work/])
      assert.equal(problems.filter((line) => mend.test(line)).length, 1, String(mend))
    assert.equal(problems.length, 7)
    const whole = 'uid 0\nhas git\nhas python\nhas dtc\nhas u-boot\n'
    assert.equal(problemsOf(hostOf(`${whole}room ${16 * 2 ** 20}\n`), 'svn', IMAGE).length, 1)
    assert.deepEqual(problemsOf(hostOf(`${whole}room ${16 * 2 ** 20}\n`), 'git', IMAGE), [])
  })

  test('what an earlier run has built needs no room any more', () => {
    const host = 'uid 0\nhas git\nhas python\nhas dtc\nhas u-boot\n'
    const [room, used] = [5 * 2 ** 20, 11 * 2 ** 20]
    assert.deepEqual(problemsOf(hostOf(`${host}room ${room}\nused ${used}\n`), 'git', IMAGE), [])
    assert.equal(problemsOf(hostOf(`${host}room ${room}\nused 0\n`), 'git', IMAGE).length, 1)
    // a copy of the image is made each time
    assert.equal(problemsOf(hostOf(`${host}room 1000\nused ${20 * 2 ** 20}\n`), 'git', IMAGE).length, 1)
  })

  test('the work folder is known by its real name, blanks and all', () => {
    assert.equal(hostOf('folder /usr/my home/x\n').lines.get('folder'), '/usr/my home/x')
  })

  test('a build host that is no FreeBSD 10 is warned of', () => {
    assert.equal(releaseWarning('10.4-RELEASE'), undefined)
    for (const release of ['13.2-RELEASE', '11.0-STABLE', 'unknown'])
      assert.match(releaseWarning(release) ?? '', /not known/)
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
