import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { backupKeys } from '../../../provision/keys/key-folder.ts'
import { onSync } from '../../support/syncs.ts'
import { init } from './folders.ts'
import { NOW, passphrase, tempFolder } from './helpers.ts'

test('both files have their names on the stick before they are called made', async (t) => {
  const stick = join(await tempFolder(t), 'stick')
  await mkdir(stick)
  const folder = await init(t)
  const seen = await onSync(t, stick)
  const out = join(stick, 'keys.tar')
  await backupKeys(folder, { boxName: 'knox', config: '', out, passphrase, now: NOW, force: false })
  assert.deepEqual(seen.at(-1), ['keys.tar', 'keys.tar.txt'])
})
