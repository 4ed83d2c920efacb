import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Reader } from '../../../provision/core/command.ts'
import { KnoxError } from '../../../provision/core/errors.ts'
import { describeChoice, listDisks } from '../../../provision/runtime/list-disks.ts'
import { allowedUsers, PRUNE_RIGHTS } from '../../../provision/tools/zfs-allow.ts'

const geom = (name: string, mode: string, more = '') =>
  `Geom name: ${name}\nProviders:\n1. Name: ${name}\n   Mediasize: 2000398934016 (1.8T)\n   Sectorsize: 512\n${more}   Mode: ${mode}\n   fwsectors: 63\n   fwheads: 255\n\n`

const GEOMS = [
  geom('ada0', 'r2w2e5', '   descr: Samsung SSD\n   ident: S1\n'),
  geom(
    'da0',
    'r0w0e0',
    '   Stripesize: 4096\n   Stripeoffset: 0\n   descr: WD Elements 25A2\n   ident: WX11\n',
  ),
  geom('da1', 'r0w0e0', '   descr: USB Bridge\n   ident: (null)\n'),
  geom('da2', 'r0w0e0'),
  geom('cd0', 'r0w0e0', '   descr: TSSTcorp DVD+-RW\n   ident: (null)\n'),
  geom('da3', 'r0w0e0', '   descr: Card reader\n').replace(
    'Mediasize: 2000398934016 (1.8T)',
    'Mediasize: 0 (0B)',
  ),
  geom('da4; reboot', 'r0w0e0'),
].join('')

const look = (name: string, first: number, label = '', parts = '') =>
  [
    `== diskinfo\n${name}\t512\t2000398934016\t3907029168\t4096\t0`,
    `== geom\n${geom(name, 'r0w0e0', `   descr: ${name}\n`)}`,
    `== parts\n${parts}`,
    `== first\n  ${first}`,
    '== last\n  0',
    `== label\n${label}`,
    '',
  ].join('\n')

const MBR =
  '=>       63  3907029105    da0  MBR  (1.8T)\n         63        1985         - free -  (993K)\n       2048  3907024896  da0s1  ntfs  (1.8T)\n'

/** Of several commands at once the box's sshd (MaxSessions) refuses some: this reader refuses the second. */
const oneAtATime = (inner: Reader): Reader => {
  let isBusy = false
  return {
    read: async (command) => {
      if (isBusy) throw new KnoxError('unreachable', 'too many sessions')
      isBusy = true
      await setImmediate()
      return inner.read(command).finally(() => (isBusy = false))
    },
  }
}

/**
 * a box with four disks: one holds its system, one is full of somebody's files, one does not answer, one is blank; and a CD
 * drive, a card reader without a card, and a name that is a command
 */
const reader = (asked: string[]): Reader => ({
  read: (command) => {
    if (command.argv[0] === 'geom') return Promise.resolve(command.parse(GEOMS))
    const name = /d=\/dev\/(\S+)/.exec(String(command.stdin))?.[1] ?? ''
    asked.push(name)
    if (name === 'da1') return Promise.reject(new KnoxError('disk', 'it hangs'))
    return Promise.resolve(command.parse(name === 'da0' ? look(name, 900, '', MBR) : look(name, 0)))
  },
})

describe('the box’s disks', () => {
  test('are listed with model, serial, size, sectors and what is on them; the one in use is not looked at', async () => {
    const asked: string[] = []
    const { free, inUse } = await listDisks(oneAtATime(reader(asked)))
    assert.deepEqual(asked, ['da0', 'da1', 'da2'])
    assert.deepEqual(
      inUse.map(({ name }) => name),
      ['ada0'],
    )
    assert.deepEqual(
      free.map(([disk, found]) => describeChoice(disk, found)),
      [
        'da0: WD Elements 25A2, serial WX11, 1.8 TiB, sectors of 512 bytes (physical 4096), not empty (MBR: ntfs)',
        'da1: USB Bridge, serial unknown, 1.8 TiB, sectors of 512 bytes, it does not answer',
        'da2: unknown model, serial unknown, 1.8 TiB, sectors of 512 bytes, nothing on it',
      ],
    )
  })
})

test('who may back up a pool: all rights, and on all below, in the words of zfs allow', () => {
  const said = [
    '---- Permissions on tank/a --------',
    'Local+Descendent permissions:',
    '\tuser eve diff,hold,mount,release,send,snapshot',
    '---- Permissions on tank ------------------------------------------',
    'Permission sets:',
    '\t@x send',
    'Local permissions:',
    '\tuser bob diff,hold,mount,release,send,snapshot',
    'Local+Descendent permissions:',
    '\tuser ann destroy,diff,hold,mount,release,send,snapshot',
    '\tuser joe send,snapshot',
    '\tgroup wheel diff,hold,mount,release,send,snapshot',
    '',
  ].join('\n')
  assert.deepEqual(allowedUsers('tank').parse(said), ['ann'])
  assert.deepEqual(allowedUsers('tank').parse(''), [])
  assert.deepEqual(allowedUsers('tank', PRUNE_RIGHTS).parse(said), ['ann'])
  assert.deepEqual(allowedUsers('tank', ['send']).parse(said), ['ann', 'joe'])
})
