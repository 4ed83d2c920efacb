import assert from 'node:assert/strict'
import { chmod, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import { check, PLUGIN_CODES } from '../../../provision/alerts/check.ts'
import { writeLastRun } from '../../../provision/runtime/last-run.ts'
import { signLogins, validFor } from '../../../provision/keys/key-folder.ts'
import { check as verb } from '../../../scripts/check.ts'
import { knoxError, tempFolder, writeProgram } from '../../support/expect.ts'
import { show } from '../../support/terminal.ts'
import { ignore } from '../../support/fake-box.ts'
import { contentOf } from '../keys/folders.ts'
import { passphrase } from '../keys/helpers.ts'
import { ago, alertHome, DAY, HOUR, lastRun, NOW, type AlertHome } from './home.ts'

/** A home in good order: proved five hours ago, with a newer snapshot that is not sent yet. */
const good = async (t: TestContext): Promise<AlertHome> => {
  const home = await alertHome(t)
  await home.zfs(['wd: a=1 b=2', 'wd/x: c=3'], { 'wd@b': HOUR })
  await home.proved(5 * HOUR, ['bk: a=1', 'bk/x: c=3'])
  return home
}

const look = (home: AlertHome, maxAge = 2 * DAY) => check(home.config, maxAge, ignore, NOW)

const said = async (home: AlertHome, maxAge?: number): Promise<string> => (await look(home, maxAge)).line

describe('knox check', () => {
  test('is OK with a young proof; a snapshot that is not sent yet is no trouble', async (t) => {
    const home = await good(t)
    assert.equal(
      await said(home),
      'KNOX OK - proved 5 h 00 min ago, 2 datasets | age=18000s;172800;345600 datasets=2 behind=0;0 free=90.0%;10:;;0;100',
    )
  })

  test('warns of a proof older than its limit, and is critical after twice that', async (t) => {
    const home = await good(t)
    for (const [limit, expected] of [
      [5 * HOUR, /^KNOX OK/],
      [5 * HOUR - 1, /^KNOX WARNING - nothing proved for 5 h 00 min/],
      [2.5 * HOUR, /^KNOX WARNING/],
      [2.5 * HOUR - 1, /^KNOX CRITICAL - nothing proved for 5 h/],
    ] as const)
      assert.match(await said(home, limit), expected)
  })

  test('without any proof is critical; a proof from the future is a warning', async (t) => {
    const home = await good(t)
    await home.proved(-HOUR, ['bk: a=1', 'bk/x: c=3'])
    assert.match(await said(home), /^KNOX WARNING - the last proof lies 1 h 00 min in the future/)
    await rm(join(home.folder, 'receipt.json'))
    assert.match(await said(home), /^KNOX CRITICAL - nothing was ever proved/)
  })

  test('a run that asked the box and found nothing to send counts, even if a later one failed', async (t) => {
    const home = await good(t)
    await home.proved(6 * DAY, ['bk: a=1 b=2', 'bk/x: c=3'])
    const succeeded = ago(HOUR).toISOString()
    assert.match(await said(home), /^KNOX CRITICAL/)
    await writeLastRun(home.folder, lastRun({ exit: 'ok', code: 0, message: '', hints: [], succeeded }))
    assert.match(await said(home), /^KNOX OK - proved 1 h 00 min ago/)
    await writeLastRun(home.folder, lastRun({ succeeded }))
    assert.match(await said(home), /^KNOX WARNING - the last run failed/)
  })

  test('warns if no snapshot is taken any more: then all is proved for ever, and nothing new is saved', async (t) => {
    const home = await good(t)
    await home.proved(HOUR, ['bk: a=1 b=2', 'bk/x: c=3'])
    await home.zfs(['wd: a=1 b=2', 'wd/x: c=3'], {
      wd: HOUR,
      'wd@a': 9 * DAY,
      'wd@b': 3 * DAY,
      'wd/x@c': 3 * DAY,
    })
    assert.match(await said(home), /^KNOX WARNING - the newest snapshot at home is 3 d 0 h old \|/)
    assert.match(await said(home, 3 * DAY), /^KNOX OK/)
  })

  test('a snapshot of a clock that was ahead, or of an excluded dataset, does not count for that', async (t) => {
    const home = await good(t)
    await home.proved(HOUR, ['bk: a=1 b=2', 'bk/x: c=3'])
    const times = { wd: HOUR, 'wd@a': 9 * DAY, 'wd@b': -300 * DAY, 'wd/x@c': 3 * DAY, 'wd/scratch@d': HOUR }
    await home.zfs(['wd: a=1 b=2', 'wd/x: c=3', 'wd/scratch: d=4'], times)
    const config = { ...home.config, home: { ...home.config.home, exclude: ['wd/scratch'] } }
    assert.match(
      await said({ ...home, config }),
      /^KNOX WARNING - the newest snapshot at home is 3 d 0 h old \|/,
    )
  })

  test('says how the last run failed: what may pass is a warning, the rest critical', async (t) => {
    const home = await good(t)
    await writeLastRun(home.folder, lastRun())
    assert.match(
      await said(home),
      /^KNOX WARNING - the last run failed \(exit 10\): the box does not answer \| .* run=10800s$/,
    )
    await writeLastRun(home.folder, lastRun({ exit: 'left-unlocked', code: 20, message: 'not | locked' }))
    const line = await said(home)
    assert.match(line, /^KNOX CRITICAL - the last run failed \(exit 20\): not \/ locked \| /)
    assert.equal(line.split('|').length, 2)
  })

  test('warns of datasets that stayed behind, by the age of what the box lacks', async (t) => {
    const home = await good(t)
    const lines = ['wd: a=1 b=2', 'wd/x: c=3 d=4', 'wd/new: e=5', 'wd/none:']
    await home.zfs(lines, { 'wd@b': HOUR, 'wd/x@d': 3 * DAY, 'wd/new@e': HOUR, 'wd/none': HOUR })
    assert.match(await said(home), /^KNOX WARNING - not on the box: newer snapshots of wd\/x \| .*behind=1;0/)
    await home.zfs(lines, { 'wd@b': HOUR, 'wd/x@d': HOUR, 'wd/new@e': 3 * DAY, 'wd/none': 3 * DAY })
    assert.match(await said(home), /snapshots of wd\/new and 1 more \| .*datasets=4 behind=2;0/)
  })

  test('warns of less than a tenth of free space', async (t) => {
    const home = await good(t)
    await home.proved(HOUR, ['bk: a=1', 'bk/x: c=3'], 112)
    assert.match(await said(home), /^KNOX OK .*free=10\.1%/)
    await home.proved(HOUR, ['bk: a=1', 'bk/x: c=3'], 110)
    assert.match(await said(home), /^KNOX WARNING - only 9\.9 % of the box’s pool were free .*free=9\.9%/)
  })

  test('warns of a certificate 30 days before its end, and is critical after it', async (t) => {
    const home = await good(t)
    const sign = (days: number, signed: Date) =>
      signLogins(home.folder, {
        logins: ['knox-send'],
        passphrase,
        validity: validFor(days, signed),
        sourceAddress: [],
      })
    await sign(31, NOW)
    assert.match(await said(home), /^KNOX OK/)
    await sign(29, NOW)
    assert.match(await said(home), /^KNOX WARNING - knox-send-cert\.pub expires in 29 d 0 h/)
    await sign(1, ago(2 * DAY))
    assert.match(await said(home), /^KNOX CRITICAL - knox-send-cert\.pub: it expired/)
  })

  test('a key that is missing is critical where every run needs it, else a warning', async (t) => {
    const home = await good(t)
    await chmod(join(home.folder, 'knox-ca'), 0o644)
    assert.match(await said(home), /^KNOX WARNING - knox-ca: others may read it/)
    await rm(join(home.folder, 'geli.key'))
    assert.match(await said(home), /^KNOX CRITICAL - geli\.key: it is missing; knox-ca: /)
  })

  test('tells the ages of verify and scrub where there are results, and damage is critical', async (t) => {
    const home = await good(t)
    const verify = {
      version: 1,
      at: ago(HOUR).toISOString(),
      files: 3,
      bytes: 9,
      different: [],
      datasets: {},
    }
    const scrub = {
      ...{ version: 1, at: ago(HOUR).toISOString(), finished: ago(DAY).toISOString() },
      ...{ state: 'ONLINE', scrub: 'finished', percent: null, errors: 0, damaged: [] },
    }
    const write = (name: string, value: unknown) => writeFile(join(home.folder, name), JSON.stringify(value))
    await write('verify.json', verify)
    await write('scrub.json', scrub)
    assert.match(await said(home), /^KNOX OK .* verify=3600s scrub=86400s$/)
    await write('verify.json', { ...verify, different: ['wd@a: /x'] })
    assert.match(await said(home), /^KNOX CRITICAL - 1 files are not the same/)
    await write('verify.json', 'rubbish')
    await write('scrub.json', { ...scrub, errors: 2, state: 'DEGRADED' })
    assert.match(await said(home), /^KNOX CRITICAL - the box’s pool is damaged \(DEGRADED, 2 errors\)/)
  })

  test('a disk that failed at the last proof is critical, however young that is', async (t) => {
    const home = await good(t)
    await home.proved(HOUR, ['bk: a=1', 'bk/x: c=3'], 9000, 'da0.eli is ONLINE, errors: 3 reading')
    assert.match(await said(home), /^KNOX CRITICAL - .*the box’s disk fails: da0\.eli is ONLINE, errors: 3/)
  })

  test('neither asks the box nor changes a file', async (t) => {
    const home = await good(t)
    await writeProgram(join(home.dir, 'bin'), 'ssh', `touch ${home.dir}/asked`)
    const before = await contentOf(home.folder)
    await look(home)
    assert.deepEqual(await contentOf(home.folder), before)
    assert.ok(!(await readdir(home.dir)).includes('asked'))
  })
})

describe('the verb knox check', () => {
  test('ends with the codes of a plugin, its line on stdout, nothing on stderr', async (t) => {
    const home = await alertHome(t)
    const file = join(home.dir, 'knox.yaml')
    await home.zfs(['wd: a=1'])
    const shown = await show([verb], 'check', '--config', file)
    assert.deepEqual([shown.code, shown.stderr], [PLUGIN_CODES.CRITICAL, ''])
    assert.match(shown.stdout, /^KNOX CRITICAL - nothing was ever proved[^\n]*\n$/)
    const json = await show([verb], 'check', '--config', file, '--json')
    assert.equal((JSON.parse(json.stdout) as { state: string }).state, 'CRITICAL')
  })

  test('takes its limit from --max-age, then from alerts.max-age', async (t) => {
    const home = await alertHome(t, 'alerts:\n  max-age: 36h\n')
    const file = join(home.dir, 'knox.yaml')
    const { proved } = home
    const age = (Date.now() - NOW.getTime()) / 1000
    await home.zfs(['wd: a=1'], { 'wd@a': DAY - age })
    await proved(40 * HOUR - age, ['bk: a=1'])
    assert.match((await show([verb], 'check', '--config', file)).stdout, /^KNOX WARNING.*;129600;259200 /)
    const { code, stdout } = await show([verb], 'check', '--config', file, '--max-age', '3d')
    assert.deepEqual([code, /;259200;/.test(stdout)], [PLUGIN_CODES.OK, true], stdout)
  })

  test('that cannot look is UNKNOWN, with a sentence and 3: no knox.yaml, no keys, wrong words, no pool', async (t) => {
    const dir = await tempFolder(t)
    const file = join(dir, 'knox.yaml')
    const cases: [string[], RegExp][] = [
      [['--config', file], /^KNOX UNKNOWN - there is no knox\.yaml \(looked at [^\n]*\n$/],
      [['--max-age', 'long', '--config', file], /^KNOX UNKNOWN - "long" is not a time\n$/],
      [['--bad'], /^KNOX UNKNOWN - unknown option '--bad'\n$/],
    ]
    for (const [words, expected] of cases) {
      const { code, stdout, stderr } = await show([verb], 'check', ...words)
      assert.deepEqual([code, stderr], [3, ''])
      assert.match(stdout, expected)
    }
    await writeFile(file, `box:\n  addresses: []\nhome:\n  pool: wd\n  folder: ${dir}/keys\n`)
    const bare = await show([verb], 'check', '--config', file)
    assert.deepEqual([bare.code, bare.stdout], [3, `KNOX UNKNOWN - there are no keys in ${dir}/keys\n`])
    const home = await alertHome(t)
    await writeProgram(join(home.dir, 'bin'), 'zfs', `echo "no such pool" >&2; exit 1`)
    await assert.rejects(look(home), knoxError('config', /does not exist at home/))
  })

  test('says its own exit codes in its help', async () => {
    const { stdout } = await show([verb], 'check', '--help')
    assert.match(stdout, /0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN/)
  })
})
