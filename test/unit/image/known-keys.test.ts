import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { publishedKey } from '../../../provision/image/known-keys.ts'
import { keyFiles, run, tempFolder, writeKey } from './helpers.ts'
import { AUTHORITY_OF_THE_TUTORIAL, LOGIN_OF_THE_TUTORIAL } from './tutorial-keys.ts'

test('keys that the tutorial published are known, whatever their comment', () => {
  assert.match(publishedKey(`${AUTHORITY_OF_THE_TUTORIAL} x@y\n`) ?? '', /the authority/)
  assert.match(publishedKey(LOGIN_OF_THE_TUTORIAL) ?? '', /the login key/)
  assert.equal(publishedKey(keyFiles(1).line), undefined)
  assert.equal(publishedKey('ssh-rsa AAAAB3NzaC1yc2E x'), undefined)
})

test('a key is known by its old fingerprint too, as ssh-keygen -E md5 prints it: the host key’s is published so', async (t) => {
  const folder = await tempFolder(t)
  await writeKey(folder, 'host.pub', keyFiles(1).line)
  const { stdout } = await run(['ssh-keygen', '-l', '-E', 'md5', '-f', join(folder, 'host.pub')])
  const known = new Map([[stdout.split(' ')[1] ?? '', 'the host key']])
  assert.equal(publishedKey(keyFiles(1).line, known), 'the host key')
  assert.equal(publishedKey(keyFiles(2).line, known), undefined)
})
