import { basename } from 'node:path'
import { KEY_FILES } from '../core/keys.ts'
import { fingerprint, readPublicKeyLine } from './public-key.ts'
import { publicFile } from './key-files.ts'
import { openingCommands } from './sealed-file.ts'
import type { Member } from './ustar.ts'

export interface SheetOptions {
  readonly boxName: string
  readonly folder: string
  readonly file: string
  readonly now: Date
  readonly files: readonly Member[]
}

/** A page for printing: what the encrypted file is, and how it is opened without knox. It holds no secret. */
export const recoverySheet = ({ boxName, folder, file, now, files }: SheetOptions): string => {
  const publicPrint = (name: string): string => {
    const line = files.find((member) => member.name === publicFile(name))?.data.toString() ?? ''
    return fingerprint(readPublicKeyLine(line, publicFile(name)))
  }
  const [check, open] = openingCommands(basename(file))
  return [
    `The keys of the backup box "${boxName}"`,
    '',
    `made      ${now.toISOString()}`,
    `file      ${basename(file)}`,
    `CA key    ${publicPrint(KEY_FILES.ca)}`,
    `host key  ${publicPrint(KEY_FILES.hostKey)}`,
    '',
    'The file holds the key of the box’s encrypted disk, the certificate',
    'authority, the logins and knox.yaml. Without it, or without the',
    'passphrase, the backup cannot be read by anybody. Keep the file and',
    'this page away from home and from the box. The passphrase is on',
    'neither of them.',
    '',
    'With knox:',
    '',
    `  npx knox keys restore ${basename(file)}`,
    '  npx knox restore --list',
    '',
    'Without knox, on any machine with OpenSSL 1.1.1 or later and tar, in an',
    'empty folder that holds the file. The first command checks the file',
    'and must end with "unchanged", the second opens it; openssl asks for',
    'the passphrase each time:',
    '',
    check,
    '',
    open,
    '',
    'geli.key then opens the disk on FreeBSD, if it is da0:',
    '',
    '  geli attach -r -p -k geli.key /dev/da0',
    '  zpool import -o readonly=on -N -R /mnt POOL     (zpool import lists it)',
    '',
    'and on Linux by knox, which prints how to import it:',
    '',
    '  npx knox rescue serve /dev/sdX --key geli.key',
    '',
    'If zpool import wants -f, since the box had it last: say it. Nothing is',
    'mounted by the import; one snapshot at a time is looked at:',
    '',
    '  zfs list -r -t snapshot -o name POOL',
    '  mkdir /tmp/look',
    '  mount -t zfs -o ro POOL/photos@SNAPSHOT /tmp/look',
    '',
    `The key folder was ${folder}`,
    '',
  ].join('\n')
}
