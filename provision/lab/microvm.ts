import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KnoxError } from '../core/errors.ts'
import { quoteAll } from '../core/quote.ts'
import { exists, readTextIfAny, withTempDir } from '../system/files.ts'
import { openChannel, run, type Channel } from '../system/process.ts'
import { requireLab } from './host.ts'

/** What a machine of the lab is made of. */
export interface Hardware {
  readonly memoryMib: number
  /** more arguments for QEMU: network, disks */
  readonly devices?: readonly string[]
}

export interface GuestOptions extends Hardware {
  /** what root runs in the guest, in the repository's folder */
  readonly command: readonly string[]
  /** seconds after which the guest is killed */
  readonly seconds: number
}

/** A network card through which the guest reaches the host's loopback as 10.0.2.2. */
export const TO_HOST = ['-netdev', 'user,id=net', '-device', 'virtio-net-pci,netdev=net']

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const script = (name: string): string => join(REPOSITORY, 'provision', 'lab', name)

/** The cached initrd for a kernel. */
const initrdFor = async (kernel: string): Promise<string> => {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'knox-lab')
  await mkdir(cache, { recursive: true, mode: 0o700 })
  const initrd = join(cache, `initrd-1-${kernel}.gz`)
  if (await exists(initrd)) return initrd
  const made = await run(['sh', script('initrd.sh'), kernel, initrd])
  if (made.exitCode !== 0)
    throw new KnoxError('platform', `the lab's initrd cannot be made: ${made.stderr.trim()}`)
  return initrd
}

const qemuArgv = (
  kernel: string,
  initrd: string,
  append: string,
  log: string,
  { memoryMib, devices }: Hardware,
) => [
  // whoever started it may be killed: no guest stays behind (setpriv(1), of Debian's util-linux)
  ...['setpriv', '--pdeathsig', 'KILL', '--'],
  ...[
    'qemu-system-x86_64',
    '-accel',
    'tcg,thread=multi',
    '-cpu',
    'max',
    '-smp',
    '2',
    '-m',
    memoryMib.toString(),
  ],
  ...['-display', 'none', '-no-reboot', '-nodefaults', '-serial', `file:${log}`, '-serial', 'stdio'],
  ...['-kernel', `/boot/vmlinuz-${kernel}`, '-initrd', initrd, '-append', append],
  ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
  ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host'],
  ...(devices ?? []),
]

export interface Guest {
  /** its second serial line: what its command reads and prints */
  readonly channel: Channel
  /** printed as `MARK STATUS` when the command has ended */
  readonly mark: string
  /** the last lines of its console */
  readonly console: () => Promise<string>
}

/** an emulated machine now and then stands still before its first program: it is started anew */
const STARTS = 3
const UP_SECONDS = 150

const comesUp = async (qemu: Channel, word: string, seconds: number): Promise<boolean> => {
  const timer = setTimeout(() => qemu.kill(), seconds * 1000)
  const line = await qemu.readLine().finally(() => clearTimeout(timer))
  return line?.trim() === word
}

/**
 * Boots a microVM whose root is this machine's own /, read-only under a tmpfs, and starts a command in it as root.
 * `dir` is a temporary folder for its files; one that is not up after `upSeconds` is started anew, twice.
 * Throws `platform` if the lab cannot run here, `failed` if the guest does not come up.
 */
export const bootGuest = async (
  dir: string,
  command: readonly string[],
  hardware: Hardware,
  upSeconds = UP_SECONDS,
): Promise<Guest> => {
  const kernel = await requireLab()
  const initrd = await initrdFor(kernel)
  const mark = `guest-${randomBytes(8).toString('hex')}`
  const commandFile = join(dir, 'run')
  const log = join(dir, 'console')
  await writeFile(commandFile, `cd ${quoteAll([REPOSITORY])} && exec ${quoteAll(command)}\n`)
  const append = `console=ttyS0 quiet panic=-1 tsc=reliable clocksource=tsc knox.guest=${script('guest.sh')} knox.run=${commandFile} knox.mark=${mark}`
  const lastLines = async () => ((await readTextIfAny(log)) ?? '').split('\n').slice(-15).join('\n')
  let said = ''
  for (let start = 0; start < STARTS; start += 1) {
    const channel = openChannel(qemuArgv(kernel, initrd, append, log, hardware))
    if (await comesUp(channel, `${mark} up`, upSeconds)) return { channel, mark, console: lastLines }
    channel.kill()
    said = (await channel.ended).stderr.trim()
  }
  throw new KnoxError('failed', "the lab's guest does not come up", [said, await lastLines()])
}

/**
 * Runs a command in a microVM of its own as root (bootGuest). Hands over each line that the command prints; returns its
 * exit code. Whatever happens the guest is gone afterwards. Throws `failed` if the guest died or ran out of time.
 */
export const runInGuest = (options: GuestOptions, onLine: (line: string) => void): Promise<number> =>
  withTempDir(async (dir) => {
    const { channel: qemu, mark, console } = await bootGuest(dir, options.command, options)
    let exitCode: number | undefined
    const timer = setTimeout(() => qemu.kill(), options.seconds * 1000)
    try {
      for (let line = await qemu.readLine(); line !== undefined; line = await qemu.readLine()) {
        const text = line.replace(/\r$/, '')
        const end = new RegExp(`^${mark} ([0-9]+)$`).exec(text)
        if (end === null) onLine(text)
        else exitCode = Number(end[1])
      }
    } finally {
      clearTimeout(timer)
      qemu.kill()
    }
    const { stderr } = await qemu.ended
    if (exitCode !== undefined) return exitCode
    throw new KnoxError('failed', `the lab's guest died or ran longer than ${options.seconds} s`, [
      stderr.trim(),
      await console(),
    ])
  })
