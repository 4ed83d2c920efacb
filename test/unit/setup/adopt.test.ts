import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Owner } from '../../../provision/core/owner.ts'
import { box } from '../../../provision/setup/box.ts'
import { tempFolder } from '../../support/expect.ts'

test('setup hands on to adopt what was said of the machine, and --reboot', async (t) => {
  const dir = await tempFolder(t)
  const configPath = join(dir, 'knox.yaml')
  await writeFile(configPath, `box: {addresses: []}\nhome: {pool: wd, folder: ${dir}/keys}\n`)
  await mkdir(join(dir, 'keys'))
  await writeFile(join(dir, 'keys/ssh_host_ed25519_key.pub'), 'ssh-ed25519 AAAA knox\n')
  // port 1: nobody answers, so the machine is not the box yet
  const texts = { address: '127.0.0.1:1', box: 'installed', user: 'me' }
  const answer = (name: string) => Promise.resolve(texts[name as keyof typeof texts])
  const ran: string[][] = []
  const owner: Owner = {
    args: { flag: (name) => name === 'reboot', text: (name) => texts[name as keyof typeof texts] },
    ask: ({ flag }) => answer(flag),
    choose: ({ flag }) => answer(flag),
    run: (words) => {
      ran.push([...words])
      return Promise.reject(new Error('enough'))
    },
  }
  await assert.rejects(box.act({ owner, emit: () => undefined, configPath }), /enough/)
  assert.deepEqual(ran, [['adopt', '127.0.0.1:1', '--user=me', '--reboot']])
})
