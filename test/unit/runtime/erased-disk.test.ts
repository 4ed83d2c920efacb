import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { Runner } from '../../../provision/core/command.ts'
import { Secret } from '../../../provision/core/secret.ts'
import { changesOf, preparations, prepareDisk } from '../../../provision/runtime/prepare-disk.ts'
import { parseConfig } from '../../../provision/system/config-file.ts'
import { zeroEnds } from '../../../provision/tools/dd.ts'
import type { Disk } from '../../../provision/tools/disk.ts'
import { geliProviders } from '../../../provision/tools/geli.ts'
import { poolNames } from '../../../provision/tools/zpool.ts'
import { tempFolder } from '../../support/expect.ts'
import { ignore } from '../../support/fake-box.ts'

const MIB = 1024 * 1024
const config = parseConfig('box:\n  addresses: [a.b]\n  disk: da1\n  pool: bk\nhome:\n  pool: wd\n', 'f')

const DISK: Disk = {
  name: 'da1',
  description: 'WD',
  serial: 'X1',
  // no whole number of MiB
  bytes: 3 * MIB + 2 * 4096,
  sectorBytes: 4096,
  inUse: false,
  contents: 'data',
}

const shown = (erased?: Disk) =>
  changesOf(preparations(config, new Secret('key', ''), false, erased)).map(({ argv }) => argv)

describe('a disk that held something', () => {
  test('loses its first and last MiB before it is encrypted, as the dry run shows; one that is blank does not', async (t) => {
    const folder = await tempFolder(t)
    await writeFile(join(folder, 'geli.key'), 'the key', { mode: 0o600 })
    const done: (readonly string[])[] = []
    const metadata = Buffer.from('GEOM::ELI').toString('hex')
    const runner: Runner = {
      read: (command) => {
        const isList = [geliProviders, poolNames].includes(command as never)
        return Promise.resolve(command.parse(isList ? '' : metadata))
      },
      act: ({ argv }) => {
        done.push(argv)
        return Promise.resolve()
      },
    }
    await prepareDisk(config, folder, runner, ignore, DISK)
    assert.deepEqual(done, shown(DISK))
    const names = done.slice(0, 3).map(([program, word]) => `${program ?? ''} ${word ?? ''}`)
    assert.deepEqual(names, ['dd if=/dev/zero', 'dd if=/dev/zero', 'geli init'])
    assert.ok(!shown().some(([program]) => program === 'dd'))
  })

  test('loses just these bytes, to the very last, and keeps its size', async (t) => {
    const file = join(await tempFolder(t), 'disk')
    for (const sectorBytes of [512, 4096]) {
      await writeFile(file, Buffer.alloc(DISK.bytes, 7))
      for (const { argv } of zeroEnds({ ...DISK, sectorBytes })) {
        const [program = '', ...words] = argv.map((word) => (word === 'of=/dev/da1' ? `of=${file}` : word))
        assert.equal(spawnSync(program, words).status, 0)
      }
      const wanted = [Buffer.alloc(MIB), Buffer.alloc(DISK.bytes - 2 * MIB, 7), Buffer.alloc(MIB)]
      assert.ok((await readFile(file)).equals(Buffer.concat(wanted)))
    }
  })
})
