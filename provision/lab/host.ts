import { readdir } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { KnoxError } from '../core/errors.ts'
import { exists } from '../system/files.ts'
import { run } from '../system/process.ts'

/** What the lab needs of the machine it runs on. */

/** The Debian packages of the lab; scripts/ready.sh installs the same list. */
export const LAB_PACKAGES: readonly string[] = readFileSync(
  new URL('../../provision/lab/packages.txt', import.meta.url),
  'utf8',
)
  .split('\n')
  .filter((line) => line !== '')

/** The newest installed kernel that has a zfs module. */
const labKernel = async (): Promise<string | undefined> => {
  const kernels = await readdir('/lib/modules').catch(() => [])
  const usable: string[] = []
  for (const kernel of kernels)
    if (
      (await exists(`/lib/modules/${kernel}/updates/dkms/zfs.ko`)) &&
      (await exists(`/boot/vmlinuz-${kernel}`))
    )
      usable.push(kernel)
  return usable.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1)
}

/** Folders that a guest has of its own: what stands below them on this machine is hidden there. */
const HIDDEN = /^\/(?:tmp|var\/tmp|run|dev|proc|sys)\//

/** Why the lab cannot run here, or undefined if it can. */
export const labProblem = async (): Promise<string | undefined> => {
  const repository = fileURLToPath(new URL('../../', import.meta.url))
  if (HIDDEN.test(repository))
    return `this clone is in ${repository}, which the lab's guest cannot see: move it elsewhere, such as below your home`
  if (process.getuid?.() !== 0) return 'the lab needs root (its guest reads the whole system)'
  if ((await labKernel()) === undefined)
    return 'there is no Debian kernel with a zfs module: sh scripts/ready.sh'
  for (const program of ['qemu-system-x86_64', 'busybox', 'tcsh', 'dmsetup', 'sshd'])
    if ((await run(['sh', '-c', `PATH=$PATH:/usr/sbin:/sbin command -v ${program}`])).exitCode !== 0)
      return `${program} is missing: sh scripts/ready.sh`
  return undefined
}

/** The kernel of the guests. Throws `platform` if the lab cannot run here. */
export const requireLab = async (): Promise<string> => {
  const problem = await labProblem()
  const kernel = await labKernel()
  if (problem !== undefined || kernel === undefined)
    throw new KnoxError('platform', problem ?? 'the lab cannot run here', [
      `apt-get install ${LAB_PACKAGES.join(' ')}`,
    ])
  return kernel
}
