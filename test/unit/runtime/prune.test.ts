import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { Config } from '../../../provision/core/config.ts'
import type { Event } from '../../../provision/core/events.ts'
import { holdAtHome, holdForSends } from '../../../provision/runtime/home-holds.ts'
import { planBackup } from '../../../provision/runtime/plan.ts'
import { planPrune, prune, requireToPrune } from '../../../provision/runtime/prune.ts'
import { sendsOf } from '../../../provision/runtime/send-streams.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { knoxError, withEnv, writeProgram } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'
import { inventory } from '../../support/simulated-box.ts'
import { remember, stubHome, type StubHome } from '../../support/stub-home.ts'

const DAYS = ['2026-01-01', '2026-01-02', '2026-01-03', '2026-01-04'].map((day) => `${day}T12:00:00Z`)

/** a zfs that destroys what it is told, but nothing of a group with what the file refused names */
const ZFS = `
here=$(dirname "$0")/..
echo "zfs $*" >>"$here/calls"
case "$*" in
  *' origin '*) [ ! -e "$here/origins" ] || cat "$here/origins" ;;
  list*) cat "$here/list" ;;
  destroy*)
    [ -e "$here/lies" ] && exit 0
    if [ -e "$here/refused" ] && echo "$2" | grep -q -f "$here/refused"; then
      echo 'cannot destroy snapshots: dataset is busy' >&2; exit 1
    fi
    for name in $(echo "\${2#*@}" | tr , ' '); do
      grep -v "^\${2%%@*}@$name	" "$here/list" >"$here/list.new"; mv "$here/list.new" "$here/list"
    done ;;
  hold*|release*) if [ -e "$here/said" ]; then cat "$here/said" >&2; exit 1; fi ;;
esac`

/** Home with four days and what the box has: the last of them. */
const thinHome = async (t: TestContext) => {
  const home = await stubHome(t)
  withEnv(t, { PATH: home.path })
  await writeProgram(join(home.dir, 'bin'), 'zfs', ZFS)
  const lines = DAYS.map((name, n) => `wd@${name}\tsnapshot\t${n + 1}\t${n + 1}\t0\n`).join('')
  await writeFile(join(home.dir, 'list'), `wd\tfilesystem\t90\t1\t-\n${lines}`)
  await remember(home, 'bk: x=4')
  const yaml = `box:\n  addresses: [192.0.2.1]\n  pool: bk\nhome:\n  pool: wd\n  folder: ${home.folder}\n  keep: {daily: 2}\n`
  return { home, config: parseConfig(yaml, 'knox.yaml') }
}

const destroyed = async (home: StubHome) =>
  (await home.calls()).filter((call) => call.startsWith('zfs destroy'))

const names = (decisions: readonly { readonly snapshot: string }[]) =>
  decisions.map(({ snapshot }) => snapshot)

describe('prune', () => {
  test('destroys by one command what the owner agreed to, and finds nothing the second time', async (t) => {
    const { home, config } = await thinHome(t)
    const agreed = await planPrune(config, ignore)
    assert.deepEqual(names(await prune(config, agreed, ignore)), DAYS.slice(0, 2))
    assert.deepEqual(await destroyed(home), [`zfs destroy wd@${DAYS[0] ?? ''},${DAYS[1] ?? ''}`])
    assert.deepEqual(await prune(config, await planPrune(config, ignore), ignore), [])
  })

  test('destroys nothing that the owner did not see', async (t) => {
    const { config } = await thinHome(t)
    const agreed = (await planPrune(config, ignore)).slice(1)
    assert.deepEqual(names(await prune(config, agreed, ignore)), [DAYS[1]])
  })

  test('goes on with the others where zfs refuses one, and tells it', async (t) => {
    const { home, config } = await thinHome(t)
    await writeFile(join(home.dir, 'refused'), '2026-01-01\n')
    const events: Event[] = []
    const agreed = await planPrune(config, ignore)
    assert.deepEqual(names(await prune(config, agreed, (event) => events.push(event))), [DAYS[1]])
    assert.match(JSON.stringify(events), /zfs did not destroy them[^"]*wd@2026-01-01T12:00:00Z"/)
  })

  test('fails if zfs says that it did, and did not', async (t) => {
    const { home, config } = await thinHome(t)
    await writeFile(join(home.dir, 'lies'), '')
    await assert.rejects(
      prune(config, await planPrune(config, ignore), ignore),
      knoxError('verification', /home still has .*wd@2026-01-01T12:00:00Z, wd@2026-01-02T12:00:00Z/),
    )
  })

  test('leaves what has a clone, and all of it without a proof of this box', async (t) => {
    const { home, config } = await thinHome(t)
    await writeFile(join(home.dir, 'origins'), `-\nwd@${DAYS[0] ?? ''}\n`)
    const [first, second] = await planPrune(config, ignore)
    assert.deepEqual([first?.reason, first?.keep, second?.keep], ['a clone needs it', true, false])
    await remember(home, 'bk: x=4', 'attic')
    assert.ok((await planPrune(config, ignore)).every(({ keep }) => keep))
  })

  test('without a policy says what to write', async (t) => {
    const { home } = await thinHome(t)
    await assert.rejects(planPrune(home.config, ignore), knoxError('config', /home\.keep: \{hourly: 24/))
  })
})

describe('who may prune each week', () => {
  const pool = '---- Permissions on wd ----'
  const allowing = async (t: TestContext, rights: string) => {
    const { home, config } = await thinHome(t)
    const said = `${pool}\nLocal+Descendent permissions:\n\tuser ann ${rights}\n\tuser bob destroy,mount\n`
    await writeProgram(join(home.dir, 'bin'), 'zfs', `[ "$*" = 'allow wd' ] && cat <<'END'\n${said}END`)
    return config
  }
  const ann = { uid: 1001, username: 'ann' }

  test('is root, and whom zfs lets destroy', async (t) => {
    const given = await allowing(t, 'destroy,diff,hold,mount,release,send,snapshot')
    await requireToPrune(given, ignore, ann)
    const lacking = await allowing(t, 'diff,hold,mount,release,send,snapshot')
    await requireToPrune(lacking, ignore, { uid: 0, username: 'root' })
  })

  test('is nobody else, who is told what root may type', async (t) => {
    const config = await allowing(t, 'diff,hold,mount,release,send,snapshot')
    await assert.rejects(
      requireToPrune(config, ignore, ann),
      knoxError(
        'platform',
        /let ann destroy snapshots of wd\nonce, as root: zfs allow -u ann destroy,mount wd$/,
      ),
    )
  })
})

describe('the hold at home', () => {
  const goals = (guid: string) => [
    {
      home: 'wd',
      dataset: 'bk',
      newest: { name: 'c', guid, createtxg: 3n },
      guids: [guid],
    },
  ]
  const held = (of: readonly string[]) =>
    inventory('wd: a=1 b=2 c=3').map((dataset) => ({
      ...dataset,
      snapshots: dataset.snapshots.map((one) =>
        of.includes(one.name) ? { ...one, held: true as const } : one,
      ),
    }))

  const before = async (home: StubHome, config: Config, of: readonly string[], box: string) => {
    const plan = planBackup(held(of), inventory(box), { home: 'wd', box: 'bk' })
    const warnings: string[] = []
    const now = await holdForSends(config, held(of), sendsOf(plan), (event) => {
      if (event.type === 'warning') warnings.push(event.text)
    })
    const calls = (await home.calls()).filter((call) => /^zfs (?:hold|release)/.test(call))
    return { calls, warnings, now: now?.[0]?.snapshots.filter((one) => one.held).map(({ name }) => name) }
  }

  test('comes before the streams on what they begin with and all that they carry', async (t) => {
    const { home, config } = await thinHome(t)
    const { calls, now } = await before(home, config, [], 'bk:')
    // cut off after b, the box goes on from b
    assert.deepEqual(calls, ['zfs hold knox:knox wd@a wd@b wd@c'])
    // so that after the proof all but the newest are let go
    assert.deepEqual(now, ['a', 'b', 'c'])
  })

  test('of runs that were cut off goes when the box needs it no more, and does not pile up', async (t) => {
    const { home, config } = await thinHome(t)
    const { calls } = await before(home, config, ['a', 'b'], 'bk: a=1 b=2')
    assert.deepEqual(calls, ['zfs hold knox:knox wd@b wd@c', 'zfs release knox:knox wd@a'])
  })

  test('that zfs does not let this user have stops no backup, and is told', async (t) => {
    const { home, config } = await thinHome(t)
    await writeFile(join(home.dir, 'said'), "cannot hold snapshot 'wd@a': permission denied\n")
    const { now, warnings } = await before(home, config, [], 'bk: a=1')
    assert.deepEqual([now, warnings.length], [undefined, 1])
    assert.match(warnings[0] ?? '', /is not held at home: zfs does not let this user/)
  })

  test('is first on the new one, then no longer on the old one', async (t) => {
    const { home, config } = await thinHome(t)
    await holdAtHome(config, held(['a']), goals('3'), new Set(['wd']), ignore)
    assert.deepEqual(await home.calls(), ['zfs hold knox:knox wd@c', 'zfs release knox:knox wd@a'])
  })

  test('comes to what another box holds already', async (t) => {
    const { home, config } = await thinHome(t)
    await writeFile(
      join(home.dir, 'said'),
      "cannot hold snapshot 'wd@c': tag already exists on this dataset\n",
    )
    const events: Event[] = []
    await holdAtHome(config, held(['c']), goals('3'), new Set(['wd']), (event) => events.push(event))
    assert.deepEqual(await home.calls(), ['zfs hold knox:knox wd@c'])
    assert.ok(!events.some(({ type }) => type === 'warning'))
  })

  test('that fails leaves the old one as it is, and is a warning with the way out', async (t) => {
    const { home, config } = await thinHome(t)
    const gone = "cannot hold snapshot 'wd@b': dataset does not exist\n"
    for (const [said, warning] of [
      [
        `${gone}cannot hold snapshot 'wd@c': permission denied\n`,
        /zfs allow -u USER [a-z,]*hold,release POOL/,
      ],
      [`${gone}cannot hold snapshot 'wd@c': out of space\n`, /a command failed/],
    ] as const) {
      await writeFile(join(home.dir, 'said'), said)
      const events: Event[] = []
      await holdAtHome(config, held(['a']), goals('3'), new Set(['wd']), (event) => events.push(event))
      assert.match(JSON.stringify(events.filter(({ type }) => type === 'warning')), warning)
    }
    assert.ok(!(await home.calls()).some((call) => call.startsWith('zfs release')))
  })
})
