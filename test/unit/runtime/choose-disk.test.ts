import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { KnoxError } from '../../../provision/core/errors.ts'
import { chooseDisk, type Chooser } from '../../../provision/runtime/choose-disk.ts'
import type { GeomProvider } from '../../../provision/tools/geom.ts'
import { ignore } from '../../support/fake-box.ts'
import { knoxError } from '../../support/expect.ts'

/** Which of the box's disks it shall be; what it answers is looked at afterwards. */

const disk = (name: string, serial?: string, inUse = false): GeomProvider => ({
  name,
  serial,
  inUse,
  readOnly: false,
  description: 'WD',
  bytes: 2e12,
  sectorBytes: 512,
  stripeBytes: 0,
})
const list = (free: readonly GeomProvider[], inUse: readonly GeomProvider[] = []) => ({
  free: free.map((one) => [one, undefined] as const),
  inUse,
  readOnly: false,
})

/** As the command line does it: without a terminal only a flag or what Enter means answers. */
const chooser = (interactive: boolean, said?: string): Chooser => ({
  interactive,
  emit: ignore,
  args: { flag: () => false, text: () => said },
  choose: ({ initial, choices }) =>
    interactive
      ? Promise.resolve(`asked: ${choices.map(({ value }) => value).join(' ')}, Enter: ${initial ?? 'none'}`)
      : initial === undefined
        ? Promise.reject(new KnoxError('refused', 'nobody is at a terminal'))
        : Promise.resolve(initial),
})

describe('the disk', () => {
  const [one, two, system] = [disk('da0', 'X1'), disk('da1', 'X2'), disk('ada0', 'S1', true)]

  test('of several is chosen by somebody: a default without a terminal takes none', async () => {
    await assert.rejects(chooseDisk(chooser(false), 'da0', list([one, two])), knoxError('refused'))
    assert.equal(await chooseDisk(chooser(true), 'da0', list([one, two])), 'asked: da0 da1, Enter: da0')
    assert.equal(await chooseDisk(chooser(true), 'da7', list([one, two])), 'asked: da0 da1, Enter: none')
  })

  test('that is the only free one is knox.yaml’s; if it is not, somebody chooses it', async () => {
    assert.equal(await chooseDisk(chooser(false), 'da0', list([one], [system])), 'da0')
    assert.equal(await chooseDisk(chooser(false), 'da0', list([])), 'da0')
    await assert.rejects(chooseDisk(chooser(false), 'da7', list([one])), knoxError('refused'))
  })

  test('may be said by its name, its serial number, or the name that FreeBSD makes of that', async () => {
    for (const [said, name] of [
      ['da1', 'da1'],
      ['X2', 'da1'],
      ['diskid/DISK-X2', 'da1'],
      // in use, or not there: what looks at it says so
      ['S1', 'ada0'],
      ['ada0', 'ada0'],
      ['da9', 'da9'],
    ] as const)
      assert.equal(await chooseDisk(chooser(false, said), 'da0', list([one, two], [system])), name)
    assert.equal(await chooseDisk(chooser(false), 'diskid/DISK-X1', list([one])), 'da0')
    // another disk's name is not taken for the only one
    assert.equal(await chooseDisk(chooser(false, 'diskid/DISK-X9'), 'da0', list([one])), 'diskid/DISK-X9')
    await assert.rejects(chooseDisk(chooser(false), 'diskid/DISK-X9', list([one])), knoxError('refused'))
  })

  test('is no command, and no serial number that two disks have', async () => {
    await assert.rejects(
      chooseDisk(chooser(false, 'da0; reboot'), 'da0', list([one])),
      knoxError('usage', /no disk of the box is called "da0; reboot".*da0 \(serial X1\)/s),
    )
    await assert.rejects(
      chooseDisk(chooser(false, 'X1'), 'da0', list([one, disk('da2', 'X1')])),
      knoxError('usage', /several disks/),
    )
  })
})
