import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makingIn, withMaking } from '../../../provision/image/making.ts'
import { imageWorld } from '../../support/image-world.ts'

test('what a killed run has left is taken down and removed by the next run, whatever both were for', async (t) => {
  const one = await imageWorld(t)
  const out = join(one.dir, 'out')
  const making = makingIn(out)
  const work = `${making.image}.work`
  mkdirSync(join(work, 'root'), { recursive: true })
  copyFileSync(one.image, making.image)
  spawnSync('mdconfig', ['-a', '-t', 'vnode', '-f', making.image, '-u', '0'])
  spawnSync('mount', ['-t', 'ufs', '-o', 'rw,noatime', '/dev/md0s2a', join(work, 'root')])
  writeFileSync(join(work, 'unit'), '0\n')
  writeFileSync(join(work, 'lock'), '999999 Mon Jan  1 00:00:00 2024\n')
  assert.equal((await one.leftovers()).length, 2)
  const [ours, others] = ['.knox-knox-10.2-2020-01-01.img', '.knox-knox-attic-10.2-2020-01-01.img']
  for (const name of [
    `${ours}.part`,
    `${ours}.xz.sha256.part`,
    `${others}.part`,
    'knox-a.img',
    `${ours}.part.mine`,
  ])
    writeFileSync(join(out, name), '')
  writeFileSync(making.packed, '')
  const found = await withMaking(out, { config: one.config, emit: () => undefined }, () => readdir(out))
  assert.deepEqual(found.sort(), [`${ours}.part.mine`, `${others}.part`, '.knox-work', 'knox-a.img'].sort())
  assert.deepEqual(await one.leftovers(), [])
  assert.ok(!existsSync(making.folder))
})
