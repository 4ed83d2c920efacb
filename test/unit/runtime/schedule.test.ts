import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { cronLine, findLine, parseTime, runsAt, withLine } from '../../../provision/runtime/schedule.ts'
import { knoxError, tempFolder, writeProgram } from '../../support/expect.ts'

const job = (config: string) => ({
  ...parseTime('7:05'),
  node: '/usr/local/bin/node',
  script: '/home/me/my knox/scripts/knox.mjs',
  config,
  log: "/home/me/it's 100% mine/knox.log",
})
const path = fc.stringMatching(/^\/[ -~]{1,30}$/)

test('a time of day is read, and nothing else', () => {
  assert.deepEqual(parseTime('17:59'), { hour: 17, minute: 59 })
  for (const word of ['24:00', '7:60', '7', '', '* *', '7:5', '07:00\n', '-1:00'])
    assert.throws(() => parseTime(word), knoxError('usage'), word)
})

const hasShell = (shell: string) => spawnSync(shell, ['-c', 'exit 0']).error === undefined

// a SHELL= of the owner's crontab holds for every line below it
for (const shell of ['/bin/sh', 'csh', 'tcsh', 'bash', 'mksh'])
  test(
    `what cron hands to ${shell} runs knox with those very words and that log`,
    { skip: hasShell(shell) ? false : `no ${shell} here` },
    async (t) => {
      const dir = await tempFolder(t)
      const node = await writeProgram(dir, 'node %d', `printf '%s\\n' "$@" "$PATH"`)
      const log = join(dir, "it's 100% mine!")
      const yaml = `${dir}/a 5% "knox"!'s \`$x\`.yaml`
      const line = cronLine({ ...job(yaml), node, log })
      const crontab = withLine(`SHELL=${shell}\n`, yaml, line)
      const command = (findLine(crontab, yaml) ?? '').split(' ').slice(5).join(' ')
      // cron(8): an unescaped % is a newline, \% a %
      assert.ok(!/(?<!\\)%/.test(command))
      const { status, stderr } = spawnSync(shell, ['-c', command.replaceAll(String.raw`\%`, '%')], {
        env: {},
        encoding: 'utf8',
      })
      assert.equal(status, 0, stderr)
      const [script, verb, flag, config, PATH] = (await readFile(log, 'utf8')).split('\n')
      assert.deepEqual([script, verb, flag, config], [job('').script, 'snapback', '--config', yaml])
      assert.match(PATH ?? '', /^\/sbin:.*\/usr\/local\/bin$/)
    },
  )

test('a line that an earlier knox wrote is found, and replaced in its place', () => {
  const older =
    '5 7 * * * PATH=/sbin:/bin /usr/bin/node /k/knox.mjs snapback --config /k/5\\%.yaml >>/k/knox.log 2>&1 # knox: /k/5\\%.yaml'
  const crontab = `SHELL=/bin/csh\n${older}\n0 1 * * * true\n`
  assert.equal(findLine(crontab, '/k/5%.yaml'), older)
  const line = cronLine(job('/k/5%.yaml'))
  assert.equal(withLine(crontab, '/k/5%.yaml', line), `SHELL=/bin/csh\n${line}\n0 1 * * * true\n`)
})

test('its own line is replaced in its place or taken out; all others stay as they were', () => {
  const other = fc.stringMatching(/^[ -~]{0,30}$/).filter((line) => !line.includes('# knox: '))
  fc.assert(
    fc.property(fc.array(other), fc.array(other), path, (before, after, config) => {
      const line = cronLine(job(config))
      const later = cronLine({ ...job(config), hour: 3 })
      const crontab = [...before, line, ...after, ''].join('\n')
      assert.equal(findLine(crontab, config), line)
      const off = [...before, `#${line}`, ` # ${line}`, ...after, ''].join('\n')
      assert.equal(findLine(off, config), undefined)
      assert.equal(withLine(off, config, later), [...before, later, ...after, ''].join('\n'))
      const often = line.replace(/^5 7/, '*/30 *')
      assert.equal(findLine([`#${line}`, often, ''].join('\n'), config), often)
      assert.ok(runsAt(line, parseTime('07:05')) && !runsAt(line, parseTime('17:05')))
      assert.equal(withLine(crontab, config, later), [...before, later, ...after, ''].join('\n'))
      assert.equal(withLine(crontab, config, undefined), [...before, ...after, ''].join('\n'))
      const plain = [...before, ...after, ''].join('\n')
      const added = withLine(plain, config, line)
      assert.ok(added.startsWith(plain) && findLine(added, config) === line)
      assert.equal(withLine(added, config, line), added)
    }),
  )
  assert.equal(withLine('MAILTO=me', '/k', 'x'), 'MAILTO=me\nx\n')
  assert.throws(() => cronLine(job('/a\nb')), knoxError('usage'))
})

test('knox schedule writes the real file of a strict crontab, and keeps what is there', async (t) => {
  const dir = await tempFolder(t)
  // a stand-in as strict as crontab(1): -l, or - with a last line that ends
  await writeProgram(
    dir,
    'crontab',
    `case $#/$1 in
1/-l) if [ -f '${dir}/tab' ]; then cat '${dir}/tab'; else echo "no crontab for me" >&2; exit 1; fi ;;
1/-) cat >'${dir}/new'; [ -z "$(tail -c 1 '${dir}/new')" ] || { echo "missing newline before EOF" >&2; exit 1; }; mv '${dir}/new' '${dir}/tab' ;;
*) exit 64 ;;
esac`,
  )
  await writeFile(join(dir, 'knox.yaml'), 'box:\n  addresses: []\nhome:\n  pool: tank\n')
  const knox = (...words: readonly string[]) =>
    spawnSync(
      process.execPath,
      [join(import.meta.dirname, '../../../scripts/knox.mjs'), 'schedule', ...words],
      {
        cwd: dir,
        encoding: 'utf8',
        env: { ...process.env, HOME: dir, PATH: `${dir}:${process.env['PATH'] ?? ''}` },
      },
    )
  const first = knox('--time', '3:30')
  assert.equal(first.status, 0, first.stderr)
  assert.match(
    await readFile(join(dir, 'tab'), 'utf8'),
    /^30 3 \* \* \* \/bin\/sh -c 'PATH=\S+ \S+ \S+knox\.mjs snapback --config \S+ >>\S+knox\.log 2>&1' # knox: \S+\n$/m,
  )
  await writeFile(join(dir, 'tab'), `# mine\n${await readFile(join(dir, 'tab'), 'utf8')}0 1 * * * true\n`)
  assert.equal(knox('--time', '4:30').status, 0)
  assert.match(await readFile(join(dir, 'tab'), 'utf8'), /^# mine\n30 4 .*\n0 1 \* \* \* true\n$/)
  assert.equal(knox('--dry-run', '--remove').status, 0)
  assert.equal(knox('--remove').status, 0)
  assert.equal(await readFile(join(dir, 'tab'), 'utf8'), '# mine\n0 1 * * * true\n')
  assert.equal(knox('--time', '25:00').status, 2)
  assert.match(knox('--print').stdout, /^59 17 /)

  // each job has its own line, and none touches another's
  assert.equal(knox().status, 0)
  assert.equal(knox('verify').status, 0)
  assert.equal(knox('scrub', '--time', '2:15').status, 0)
  const lines = (await readFile(join(dir, 'tab'), 'utf8')).split('\n')
  assert.match(lines[2] ?? '', /^59 17 \* \* \* .* snapback --config .* # knox: /)
  assert.match(lines[3] ?? '', /^30 3 \* \* 0 .* verify --config .* # knox verify: /)
  assert.match(lines[4] ?? '', /^15 2 1 \* \* .* scrub --config .* # knox scrub: /)
  assert.equal(knox('--remove').status, 0)
  assert.deepEqual((await readFile(join(dir, 'tab'), 'utf8')).split('\n'), lines.toSpliced(2, 1))
  assert.equal(knox('flash').status, 2)
  assert.equal(knox('verify', 'scrub').status, 2)
  // prune would fail each week where knox.yaml has no policy for it
  const unruly = knox('prune')
  assert.equal(unruly.status, 3)
  assert.match(unruly.stderr, /home\.keep is missing/)
  // nor where zfs does not let this user destroy; root may all
  await writeProgram(dir, 'zfs', `[ "$*" = 'allow tank' ]`)
  await writeFile(join(dir, 'knox.yaml'), 'box:\n  addresses: []\nhome:\n  pool: tank\n  keep: {daily: 7}\n')
  const powerless = knox('prune')
  if (process.getuid?.() === 0) assert.equal(powerless.status, 0, powerless.stderr)
  else assert.match(`${powerless.status} ${powerless.stderr}`, /^15 .*zfs allow -u \S+ destroy,mount tank/s)
  // what is there can be taken out all the same
  assert.equal(knox('prune', '--remove').status, 0)
})
