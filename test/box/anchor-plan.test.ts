import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'

/** Which snapshots the box holds, day by day, as its own awk program decides; under each awk that there is. */

const template = readFileSync(new URL('../../templates/knox-zfs-receive.sh.hbs', import.meta.url), 'utf8')
const [plan = ''] = /^plan_anchors\(\) \{[^]*?^\}$/m.exec(template) ?? []
const [limits = ''] = /^anchor_days=[^]*?^anchor_months=\d+/m.exec(template) ?? []

const dir = mkdtempSync(join(tmpdir(), 'knox-anchors-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const AWKS = ['mawk', 'gawk', 'original-awk', 'busybox awk'].filter(
  (awk) => spawnSync('sh', ['-c', `${awk} 'BEGIN { exit 0 }'`]).status === 0,
)

const DAY = 86_400_000
const dateOf = (day: number): string =>
  new Date(Date.UTC(2026, 0, 1) + day * DAY).toISOString().slice(0, 10).replaceAll('-', '')

/** A box with one dataset. */
class Anchors {
  readonly names: string[] = []
  readonly held = new Set<string>()
  readonly marks = new Map<string, string>()
  readonly #script: string

  constructor(awk: string) {
    this.#script = join(dir, `plan-${awk.replace(' ', '-')}`)
    writeFileSync(
      this.#script,
      `tab=$(printf '\\t')\n${limits}\n${plan.replace('awk -F', `${awk} -F`)}\nplan_anchors "$1"\n`,
    )
  }

  /** Snapshots arrive in one session of that day. */
  session(day: number, ...names: readonly string[]): void {
    this.names.push(...names.map((name) => `wd/a b@${name}`))
    const today = dateOf(day)
    const input = [
      ...[...this.marks].map(([name, mark]) => `${name}\t${mark}`),
      'all',
      ...this.names.map((name) => `${name}\t${this.held.has(name) ? 1 : 0}`),
      'end',
      '',
    ].join('\n')
    const { stdout, stderr } = spawnSync('sh', [this.#script, today], { input, encoding: 'utf8' })
    assert.equal(stderr, '')
    for (const line of stdout.trim().split('\n')) {
      const [word, name = ''] = line.split('\t')
      if (word === 'day') this.marks.set(name, today)
      else if (word === 'newest') this.marks.set(name, 'newest')
      else if (word === 'hold') this.held.add(name)
      else if (word === 'release') this.held.delete(name)
    }
    assert.ok(this.held.has(this.names.at(-1) ?? ''), 'the newest is held')
  }

  /** Destroys all that nothing holds, as a thief might over many days. */
  plunder(): void {
    this.names.splice(0, this.names.length, ...this.names.filter((name) => this.held.has(name)))
  }

  has(name: string): boolean {
    return this.held.has(`wd/a b@${name}`)
  }
}

for (const awk of AWKS)
  describe(`the box’s anchors, by ${awk}`, () => {
    const oneYear = (): Anchors => {
      const box = new Anchors(awk)
      for (let day = 0; day < 200; day += 1) box.session(day, `h${day}`, `h${day}-later`)
      return box
    }

    test('are the first of 7 days, 4 weeks and 12 months, and the newest', () => {
      const box = oneYear()
      box.session(200, 'h200')
      box.session(200, 'again')
      for (let day = 195; day <= 200; day += 1)
        assert.ok(box.has(day === 200 ? 'h200' : `h${day}-later`), `${day}`)
      assert.ok(box.has('again'))
      // the first of each month that began before
      for (const day of [0, 31, 59, 90, 120, 151, 181]) assert.ok(box.has(`h${day}-later`), `${day}`)
      assert.ok(box.held.size <= 7 + 4 + 12 + 1, `${box.held.size}`)
      assert.ok(box.held.size >= 7 + 2 + 6, `${box.held.size}`)
    })

    test('survive a thief with all keys: a flood of snapshots a day, for three weeks', () => {
      const box = oneYear()
      for (let day = 200; day < 221; day += 1) {
        for (let n = 0; n < 4; n += 1)
          box.session(day, ...Array.from({ length: 20 }, (_, k) => `evil${day}-${n}-${k}`))
        box.plunder()
      }
      for (const day of [0, 31, 59, 90, 120, 151, 181]) assert.ok(box.has(`h${day}-later`), `${day}`)
      const weeks = [...box.held].filter((name) => /@h19\d/.test(name))
      assert.ok(weeks.length >= 1, [...box.held].join(' '))
    })

    test('a clock that jumps ten years and back costs no more than one of each kind', () => {
      const box = oneYear()
      const before = new Set(box.held)
      box.session(200 + 3650, 'future')
      box.session(200, 'back')
      const lost = [...before].filter((name) => !box.held.has(name))
      assert.ok(lost.length <= 4, lost.join(' '))
    })
  })

test('there is an awk to test with', () => assert.ok(AWKS.length > 0))
