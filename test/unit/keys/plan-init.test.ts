import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { MADE_FILES } from '../../../provision/keys/key-files.ts'
import { planInit } from '../../../provision/keys/key-folder.ts'
import { knoxError, tempFolder, thrownBy } from '../../support/expect.ts'

test('keys that are replaced take with them what tells of a disk or a card that was made with them', async (t) => {
  const folder = await tempFolder(t)
  const told = ['card-made', 'geli-metadata-da0.bin']
  for (const name of [...told, 'receipt.json']) await writeFile(join(folder, name), '')
  // without keys beside them they tell of nothing that would be replaced
  assert.deepEqual(await planInit(folder, false), { files: MADE_FILES, replaced: [] })
  await writeFile(join(folder, 'geli.key'), '')
  assert.deepEqual((await planInit(folder, true)).replaced, ['geli.key', ...told])
  await assert.rejects(planInit(folder, false), knoxError('refused', /already: geli\.key$/m))
})

test('keys of a run that was cut off are told as that: what is missing, and how to begin anew', async (t) => {
  const folder = await tempFolder(t)
  const last = 'ssh_host_ed25519_key.pub'
  await writeFile(join(folder, 'knox-ca'), '')
  await assert.rejects(
    planInit(folder, false),
    knoxError('refused', /already: knox-ca$[^]*ssh_host_ed25519_key\.pub is missing.*cut off.*init --force/m),
  )
  await writeFile(join(folder, last), '')
  const error = await thrownBy(() => planInit(folder, false))
  assert.ok(error instanceof KnoxError)
  assert.doesNotMatch(error.hints.join(), /cut off/)
})
