import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError, type ExitName } from '../provision/core/errors.ts'
import { quote } from '../provision/core/quote.ts'
import { formatBytes } from '../provision/core/sizes.ts'
import { decryptToFile } from '../provision/rescue/decrypt.ts'
import { describeGeli } from '../provision/rescue/describe-disk.ts'
import { withOpenDisk, type DiskKeys } from '../provision/rescue/open-disk.ts'
import { serveDisk } from '../provision/rescue/serve.ts'

const info = async (knox: Knox, path: string): Promise<undefined> => {
  const found = await describeGeli(path)
  const slots = found.slots.length === 1 ? 'slot' : 'slots'
  knox.result(
    [
      `${path}: a GELI disk of ${formatBytes(found.size)}, metadata version ${found.version}`,
      `${found.cipher}, sectors of ${found.sectorSize} bytes, ${formatBytes(found.decryptedSize)} decrypted`,
      `opens with: ${found.opensWith} (key ${slots} ${found.slots.join(' and ')})`,
    ].join('\n'),
    found,
  )
  return undefined
}

const keysOf = async (knox: Knox): Promise<DiskKeys> => {
  const keyFiles = knox.args.texts('key')
  const asked = knox.args.flag('passphrase') || knox.args.text('passphrase-file') !== undefined
  if (keyFiles.length === 0 && !asked)
    throw new KnoxError('usage', 'the disk’s key is needed: --key FILE', [
      'geli.key in the key folder, or in the key backup',
    ])
  return {
    keyFiles,
    passphrase: asked ? await knox.passphrase('passphrase of the disk') : undefined,
    metadataBackup: knox.args.text('metadata'),
  }
}

const decrypt = async (knox: Knox, path: string): Promise<undefined> => {
  const to = knox.args.text('to')
  if (to === undefined) throw new KnoxError('usage', 'where to? --to FILE')
  if (knox.dryRun) {
    knox.result(`would write the decrypted disk of ${path} to ${to}`, { path: to })
    return undefined
  }
  const keys = await keysOf(knox)
  const { size, written } = await withOpenDisk(path, keys, false, (disk) =>
    decryptToFile(disk, to, knox.emit, knox.signal),
  )
  knox.result(
    `${to} is the decrypted disk: ${formatBytes(size)}, of which ${formatBytes(written)} are data\n` +
      [
        'import its pool on Linux, as root:',
        '',
        `  losetup --read-only /dev/loop7 ${quote(to)}`,
        '  zpool import -o readonly=on -N -R /mnt -d /dev/loop7 POOL',
      ].join('\n'),
    { path: to, size, written },
  )
  return undefined
}

const serve = async (knox: Knox, path: string): Promise<undefined> => {
  const socket = knox.args.text('socket') ?? join(tmpdir(), `knox-rescue-${process.pid}.sock`)
  const writable = knox.args.flag('read-write')
  if (knox.dryRun) {
    knox.result(
      `would serve the decrypted disk of ${path}, ${writable ? 'READ-WRITE' : 'read-only'}, on ${socket}`,
      {
        socket,
        writable,
      },
    )
    return undefined
  }
  const keys = await keysOf(knox)
  if (writable) await knox.confirm(`${path} can be changed from now on, and it may be the only copy; go on?`)
  await withOpenDisk(path, keys, writable, async ({ provider }) => {
    const server = await serveDisk(provider, socket, writable)
    const readOnly = writable ? '' : ' -o readonly=on'
    const commands = [
      `nbd-client -unix ${quote(socket)} /dev/nbd0`,
      `zpool import${readOnly} -N -R /mnt -d /dev/nbd0 POOL`,
    ]
    knox.result(
      [
        `the decrypted disk is served on ${socket}, ${writable ? 'READ-WRITE' : 'read-only'}, until Ctrl-C; as root, in another terminal:`,
        '',
        ...commands.map((line) => `  ${line}`),
        '',
        'before Ctrl-C: zpool export POOL; nbd-client -d /dev/nbd0',
      ].join('\n'),
      { socket, writable, commands },
    )
    await server.until(knox.signal)
  })
  return undefined
}

const WORK: Readonly<Record<string, (knox: Knox, path: string) => Promise<ExitName | undefined>>> = {
  info,
  serve,
  decrypt,
}

/** Exit: 0, 2 usage, 12 wrong key, 14 no or damaged GELI metadata, 15 a cipher that is not known, 21 the disk cannot be opened. */
export const rescue = defineCommand({
  name: 'rescue',
  summary: 'open the box’s disk where there is no FreeBSD: look at it, serve it, decrypt it',
  positionals: 'info|serve|decrypt DISK',
  options: {
    key: {
      type: 'string',
      multiple: true,
      value: 'FILE',
      help: 'the disk’s key: geli.key of the key folder; more than one in geli’s order',
    },
    passphrase: { type: 'boolean', help: 'ask for a passphrase too (not for disks made by knox)' },
    'passphrase-file': { type: 'string', value: 'FILE', help: 'the same from a file, first line' },
    metadata: { type: 'string', value: 'FILE', help: 'backup of the metadata, if the disk’s own is damaged' },
    to: { type: 'string', value: 'FILE', help: 'decrypt: the new file' },
    socket: { type: 'string', value: 'PATH', help: 'serve: where (default: in the temporary folder)' },
    'read-write': { type: 'boolean', help: 'serve: let the disk be changed' },
  },
  details:
    'DISK is the whole disk or an image of it, such as /dev/sdb. Nothing is changed on it, unless --read-write is said.\n' +
    'info needs no key. serve is a network block device (NBD) on a private socket, for nbd-client, qemu-nbd or nbdcopy.',
  run: async (knox) => {
    const [verb = '', path, ...more] = knox.positionals
    const work = Object.hasOwn(WORK, verb) ? WORK[verb] : undefined
    if (work === undefined || path === undefined || more.length > 0)
      throw new KnoxError('usage', 'what, and which disk?', [
        'knox rescue info /dev/sdb',
        'see: knox rescue --help',
      ])
    return work(knox, path)
  },
})
