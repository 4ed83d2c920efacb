import type { Read } from '../../core/command.ts'
import { KnoxError } from '../../core/errors.ts'
import type { Workspace } from './workspace.ts'

/** What config(8) made of the kernel's configuration: a typo in it is silent, so the result is looked at. */

const MODULES = ['dtb/rpi', 'opensolaris', 'zfs']
/** every nooptions line of kernconf/RPI-B-ZFS; written here once more, so that a typo there is seen */
export const ABSENT = [
  ...['INET6', 'SCTP', 'UFS_DIRHASH', 'QUOTA', 'NFSCL', 'NFSLOCKD', 'NFS_ROOT', 'KTRACE', 'KBD_INSTALL_CDEV'],
  ...['BREAK_TO_DEBUGGER', 'ALT_BREAK_TO_DEBUGGER', 'KDB', 'DDB', 'INVARIANTS', 'INVARIANT_SUPPORT'],
]

/** Where 10.x has the kernel's objects: MAKEOBJDIRPREFIX is crochet's WORKDIR/obj. */
export const kernelFolder = ({ workdir, src }: Workspace): string =>
  `${workdir}/obj/arm.armv6${src}/sys/RPI-B-ZFS`

const wrong = (what: string): KnoxError =>
  new KnoxError('verification', `the kernel was not configured as kernconf/RPI-B-ZFS says: ${what}`, [
    'the image was not made; is the tree another FreeBSD than 10.2 to 10.4?',
  ])

/** Throws `verification` if the modules or options are others. Reads the generated Makefile and opt_*.h. */
export const checkKernel = (space: Workspace): Read<undefined> => ({
  effect: 'read',
  argv: [
    ...[
      '/bin/sh',
      '-c',
      'cd "$1" 2>/dev/null || exit 0; grep -E "^(KERN_IDENT|MODULES_EXTRA|DEBUG)=" Makefile; cat opt_*.h; exit 0',
    ],
    ...['sh', kernelFolder(space)],
  ],
  parse: (stdout) => {
    if (!/^KERN_IDENT=RPI-B-ZFS$/m.test(stdout)) throw wrong('it is not the kernel RPI-B-ZFS')
    if (/^DEBUG=/m.test(stdout)) throw wrong('with DEBUG')
    const modules = /^MODULES_EXTRA=(.*)$/m.exec(stdout)?.[1]?.trim().split(/\s+/) ?? []
    const missing = MODULES.filter((name) => !modules.includes(name))
    if (missing.length > 0) throw wrong(`without the modules ${missing.join(', ')}`)
    if (!/^#define KSTACK_PAGES 6$/m.test(stdout)) throw wrong('without KSTACK_PAGES=6')
    const present = ABSENT.filter((name) => new RegExp(`^#define ${name} `, 'm').test(stdout))
    if (present.length > 0) throw wrong(`with ${present.join(', ')}`)
    return undefined
  },
})
