import assert from 'node:assert/strict'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test, type TestContext } from 'node:test'
import type { z } from 'zod'
import { errorSchema, eventSchema, lineSchema } from '../../../provision/cli/event-schema.ts'
import { RESULT_SCHEMAS } from '../../../provision/cli/result-schemas.ts'
import { schemaFiles } from '../../../provision/cli/schema-files.ts'
import { EXIT_CODES } from '../../../provision/core/errors.ts'
import type { Event } from '../../../provision/core/events.ts'
import { backup } from '../../../scripts/backup.ts'
import { check } from '../../../scripts/check.ts'
import { doctor } from '../../../scripts/doctor.ts'
import { keys } from '../../../scripts/keys.ts'
import { preview } from '../../../scripts/preview.ts'
import { status } from '../../../scripts/status.ts'
import { HELLO } from '../../support/fake-box.ts'
import { homeBehind, listed, type StubHome } from '../../support/stub-home.ts'
import { show, verb } from '../../support/terminal.ts'
import { alertHome } from '../alerts/home.ts'

const FOLDER = join(import.meta.dirname, '../../../docs/schemas')

type Frozen<T> = T extends readonly (infer U)[]
  ? readonly Frozen<U>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T

/** fails to compile where the library can emit an event that the schema does not have */
const asDocumented = (event: Event): Frozen<z.infer<typeof eventSchema>> => event

const UNLOCK = ['hear unlock', 'say waiting', 'sleep 0.2', 'say unlocked']
const SENT = ['hear receive|incremental|bk', 'say ready', 'take 1000', 'say ok 2']
const GOOD = [
  ...[HELLO, ...UNLOCK, ...listed('bk: a=1'), ...SENT, ...listed('bk: a=1 b=2')],
  ...['hear bye', 'say locked'],
]

const VERBS = { backup, check, doctor, keys, preview, status }

/** Runs a verb with --json and --verbose; every line that it prints must be as it is documented. */
const documented = async (home: StubHome | { dir: string }, name: keyof typeof VERBS, ...words: string[]) => {
  const file = join(home.dir, 'knox.yaml')
  const ran = await show([VERBS[name]], name, ...words, '--json', '--verbose', '--config', file)
  const lines = ran.stderr.split('\n').filter((line) => line !== '')
  const events = lines.map((line) => lineSchema.parse(JSON.parse(line)))
  if (ran.stdout !== '') RESULT_SCHEMAS[name]?.parse(JSON.parse(ran.stdout))
  return { ...ran, types: new Set<string>(events.map(({ type }) => type)) }
}

describe('what --json prints', () => {
  test('docs/schemas is what the schemas say (write it by test/support/write-schemas.ts)', async () => {
    const files = schemaFiles()
    assert.deepEqual((await readdir(FOLDER)).sort(), [...files.keys()].sort())
    for (const [name, text] of files) assert.equal(await readFile(join(FOLDER, name), 'utf8'), text, name)
  })

  test('docs/events.md names every event type and every file of docs/schemas', async () => {
    const text = await readFile(join(FOLDER, '../events.md'), 'utf8')
    for (const { shape } of [...eventSchema.options, errorSchema])
      assert.ok(text.includes(`\`${shape.type.value}\``), shape.type.value)
    for (const name of schemaFiles().keys()) assert.ok(text.includes(`schemas/${name}`), name)
  })

  test('every kind of event is as documented, and what is not is refused', async () => {
    const all: readonly Event[] = [
      { type: 'step', title: 'a' },
      { type: 'done', title: 'a' },
      { type: 'note', text: 'a' },
      { type: 'warning', text: 'a' },
      { type: 'warning', text: 'a', hint: 'b' },
      { type: 'command', argv: ['a'], where: 'home' },
      ...[undefined, 5].map((n) => ({
        ...{ type: 'progress' as const, dataset: 'wd', bytes: 1, of: n, totalBytes: 1, totalOf: n },
        seconds: 0.5,
      })),
    ]
    assert.deepEqual(
      new Set(all.map(({ type }) => type)),
      new Set(eventSchema.options.map(({ shape }) => shape.type.value)),
    )
    const emit = verb(({ emit: tell }) => all.map(asDocumented).forEach((event) => tell(event as Event)))
    const lines = (await show([emit], 'try', '--json')).stderr.trimEnd().split('\n')
    assert.equal(lines.length, all.length)
    for (const line of lines) lineSchema.parse(JSON.parse(line))
    for (const wrong of [{}, { type: 'step' }, { type: 'step', title: 'a', more: 1 }, { type: 'error' }])
      assert.ok(!lineSchema.safeParse(wrong).success, JSON.stringify(wrong))
  })

  test('every error is as documented', async () => {
    const bug = await show([verb(() => assert.fail('oh'))], 'try', '--json')
    assert.equal(errorSchema.parse(JSON.parse(bug.stderr)).code, 'failed')
    for (const code of Object.keys(EXIT_CODES).filter((name) => name !== 'ok'))
      errorSchema.parse({ type: 'error', code, message: 'a', hints: [] })
  })

  const sending = async (t: TestContext, script: readonly string[]): Promise<StubHome> => {
    const home = await homeBehind(t)
    await home.box(script)
    return home
  }

  test('a backup that sends, then status and preview', async (t) => {
    const home = await sending(t, GOOD)
    const { code, types, stderr } = await documented(home, 'backup')
    assert.equal(code, 0, stderr)
    assert.deepEqual(
      [...types].sort(),
      ['command', 'done', 'step'].concat(types.has('progress') ? ['progress'] : []).sort(),
    )
    assert.equal((await documented(home, 'status')).code, 0)
    assert.equal((await documented(home, 'preview')).code, 0)
  })

  test('a backup that fails, what was to be sent, and the status after it', async (t) => {
    const home = await sending(t, ['err ssh: connect: Connection refused', 'exit 255'])
    const { code, types } = await documented(home, 'backup')
    assert.deepEqual([code, types.has('error')], [EXIT_CODES.unreachable, true])
    assert.equal((await documented(home, 'preview')).code, 0)
    const { stdout } = await documented(home, 'status')
    assert.equal((JSON.parse(stdout) as { lastRun: { code: number } }).lastRun.code, EXIT_CODES.unreachable)
  })

  test('check, doctor and keys list, well and ill', async (t) => {
    const home = await alertHome(t)
    await home.zfs(['wd: a=1', 'wd/x:'])
    for (const name of ['check', 'doctor'] as const) await documented(home, name)
    await documented(home, 'keys', 'list')
    await rm(join(home.folder, 'geli.key'))
    await documented(home, 'keys', 'list')
    await rm(join(home.dir, 'knox.yaml'))
    assert.equal((await documented(home, 'check')).code, 3)
    assert.equal((await documented(home, 'doctor')).code, EXIT_CODES.config)
  })

  test('a result with the order of snapshots in it is JSON all the same', async () => {
    const { stdout } = await show(
      [verb((knox) => knox.result('', { createtxg: 2n ** 64n }))],
      'try',
      '--json',
    )
    assert.equal(stdout, '{"createtxg":"18446744073709551616"}\n')
  })
})
