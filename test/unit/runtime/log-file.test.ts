import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { turnLog } from '../../../provision/runtime/log-file.ts'
import { quoteAll } from '../../../provision/core/quote.ts'
import { tempFolder } from '../../support/expect.ts'

const KNOX = resolve(import.meta.dirname, '../../../scripts/knox.mjs')

test('a log is turned when it is long, and left alone while it is short or is none', async (t) => {
  const folder = await tempFolder(t)
  await turnLog(folder, 10)
  assert.deepEqual(await readdir(folder), [])
  await writeFile(join(folder, 'knox.log'), '0123456789')
  await turnLog(folder, 10)
  assert.deepEqual(await readdir(folder), ['knox.log'])
  for (const text of ['first, and long', 'second, and long']) {
    await writeFile(join(folder, 'knox.log'), text)
    await turnLog(folder, 10)
    assert.equal(await readFile(join(folder, 'knox.log.1'), 'utf8'), text)
    assert.equal(await readFile(join(folder, 'knox.log'), 'utf8'), '')
  }
  assert.deepEqual((await readdir(folder)).sort(), ['knox.log', 'knox.log.1'])
})

test('the daily run turns the log that its own shell has open, and goes on in it', async (t) => {
  const folder = await tempFolder(t)
  const log = join(folder, 'knox.log')
  await writeFile(
    join(folder, 'knox.yaml'),
    `box:\n  addresses: []\nhome:\n  pool: tank\n  folder: ${folder}\n`,
  )
  const before = 'x'.repeat(1024 * 1024 + 1)
  await writeFile(log, before)
  const command = quoteAll([process.execPath, KNOX, 'snapback', '--config', join(folder, 'knox.yaml')])
  // no zfs on this PATH: the run ends early, and says so in the log
  spawnSync('/bin/sh', ['-c', `PATH=/nowhere ${command} >>${log} 2>&1`])
  assert.equal(await readFile(join(folder, 'knox.log.1'), 'utf8'), before)
  assert.match(await readFile(log, 'utf8'), /^knox: error: /)
})
