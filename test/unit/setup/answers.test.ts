import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { schedule } from '../../../provision/setup/backup.ts'
import { problemOfFile, problemOfNewFile, typedPath } from '../../../provision/setup/files.ts'
import { keysBackup } from '../../../provision/setup/keys.ts'
import { isFar, placement } from '../../../provision/setup/placement.ts'
import { worldOf } from '../../support/wizard.ts'

/** What is typed at the wizard's questions: checked on entry, with the reason, and never more than a word. */

describe('an answer', () => {
  test('that is a time of day goes to knox schedule, nothing else does', async (t) => {
    const { world, ran, problems } = await worldOf(t, [
      'noon',
      '25:00',
      '* * * * * id',
      '',
      '--remove',
      '7:05',
    ])
    await schedule.act(world)
    assert.deepEqual(ran, [['schedule', '--time', '7:05']])
    assert.deepEqual(new Set(problems), new Set(['is not a time of day, such as 17:59']))
    assert.equal(problems.length, 5)
  })

  test('that names a file is a path and no option, in a folder that is there', async (t) => {
    const { dir, world, ran, problems } = await worldOf(t, ['', '/nowhere/at/all', '-x.tar'])
    await keysBackup.act(world)
    assert.deepEqual(ran, [['keys', 'backup', join(process.cwd(), '-x.tar')]])
    assert.deepEqual(problems, ['needs a file name', 'there is no folder /nowhere/at'])
    await mkdir(join(dir, 'stick'))
    assert.match(problemOfNewFile(join(dir, 'stick')) ?? '', /is a folder/)
    assert.equal(problemOfNewFile(join(dir, 'knox.yaml')), 'is there already')
    assert.match(problemOfNewFile(join(dir, 'knox.yaml/x')) ?? '', /there is no folder|cannot be looked at/)
    assert.equal(problemOfFile(join(dir, 'knox.yaml')), undefined)
    assert.match(problemOfFile('--force') ?? '', /there is no file \/.*--force/)
    assert.equal(typedPath('~/stick.tar'), join(homedir(), 'stick.tar'))
    assert.equal(typedPath('~stick'), join(process.cwd(), '~stick'))
  })
})

describe('an address', () => {
  test('is of use from another house, or is not', () => {
    for (const far of [
      'knox.example.net:2222',
      '8.8.8.8',
      '2001:db8::1',
      '10.example.com',
      'fdisk.example.org',
      'fc.example',
      `${'a'.repeat(56)}.onion`,
    ])
      assert.equal(isFar(far), true, far)
    for (const near of [
      '192.168.1.13',
      '10.0.0.1:22',
      '172.31.0.1',
      '127.0.0.1',
      'fe80::1%em0',
      'fd00::1',
      '::1',
      '[fd00::1]:22',
      'laptop',
      'localhost',
      'box.local',
      'knox.lan',
      'knox.fritz.box',
      '$(id)',
    ])
      assert.equal(isFar(near), false, near)
  })

  test('that --placed gives counts, although the box has been placed before', async (t) => {
    const yaml = (dir: string, first: string) =>
      writeFile(join(dir, 'knox.yaml'), `box:\n  addresses: [${first}, 192.168.1.13]\nhome:\n  pool: tank\n`)
    const asked = await worldOf(t, [], { placed: 'new.example.net' })
    await yaml(asked.dir, 'old.example.net')
    assert.equal(await placement.look(asked.world), undefined)
    await yaml(asked.dir, 'new.example.net')
    assert.equal(await placement.look(asked.world), 'reached at new.example.net')
    const unasked = await worldOf(t, [])
    assert.equal(await placement.look(unasked.world), undefined)
    await yaml(unasked.dir, 'old.example.net')
    assert.equal(await placement.look(unasked.world), 'reached at old.example.net')
  })
})
