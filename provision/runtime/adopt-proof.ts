import type { Read, Runner } from '../core/command.ts'
import { KnoxError } from '../core/errors.ts'
import type { Emit } from '../core/events.ts'
import { formatAddress } from '../core/names.ts'
import type { Secret } from '../core/secret.ts'
import { pause } from '../system/process.ts'
import { boxStep } from './adopt.ts'
import { checksOf, mountTable, processNames, remarksOf, swapInUse, type Check } from './adopt-checks.ts'
import { refusesPlainKeys, type OwnLogin } from './adopt-login.ts'
import { look } from './adopt-look.ts'
import type { PlannedFile } from './adopt-plan.ts'
import { withShell } from './shell.ts'
import { connect, type Box } from './target.ts'

/** The new way in, proved from home; and the restart, with what is to be seen after it. */

const userId: Read<string> = { effect: 'read', argv: ['id', '-u'], parse: (stdout) => stdout.trim() }

/** kern.boottime changes with every start; 10.2 prints `{ sec = 1, usec = 2 } date` */
const bootTime: Read<string> = {
  effect: 'read',
  argv: ['sysctl', '-n', 'kern.boottime'],
  parse: (stdout) => /sec = ([0-9]+)/.exec(stdout)?.[1] ?? '',
}

/** Whether this very machine is the one with the folder of the old files, and not another that knows our keys too. */
const hasFolder = (folder: string): Read<boolean> => ({
  effect: 'read',
  argv: ['/bin/sh', '-c', 'if [ -d "$1" ]; then echo yes; else echo no; fi', 'sh', folder],
  parse: (stdout) => stdout.trim() === 'yes',
})

const silent: Emit = () => undefined

/** Tries again while nobody answers; throws what the last try said when the seconds are over. */
const whileUnreachable = async <T>(seconds: number, every: number, work: () => Promise<T>): Promise<T> => {
  const late = Date.now() + seconds * 1000
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const isPassing =
        error instanceof KnoxError && (error.code === 'unreachable' || error.code === 'connection-lost')
      if (!isPassing || Date.now() > late) throw error
      await pause(every)
    }
  }
}

/** seconds for sshd to come back; a Raspberry Pi takes its time */
const RESTART = 30

/**
 * Logs in as knox-send (a session says hello and goodbye) and as knox-shell (root's shell answers, on the machine that has
 * `folder`), and is refused with the owner's plain keys. Throws `verification` or what ssh said.
 */
export const proveLogins = async (
  box: Box,
  passphrase: Secret,
  login: OwnLogin,
  folder: string,
  emit: Emit,
): Promise<void> => {
  const { session, target } = await whileUnreachable(RESTART, 1, () => connect(box, silent))
  try {
    await session.bye()
  } catch (error) {
    throw await session.abandon(error)
  }
  emit({ type: 'note', text: 'a session answers (knox-send)' })
  const there = { ...box, addresses: [target.address] }
  const { uid, isSame } = await withShell(there, passphrase, silent, async (runner) => ({
    uid: await runner.read(userId),
    isSame: await runner.read(hasFolder(folder)),
  }))
  if (!isSame)
    throw new KnoxError(
      'verification',
      `another machine than the one that is adopted answers at ${formatAddress(target.address)}`,
      ['it has the box’s keys too: is it the former box?'],
    )
  if (uid !== '0') throw new KnoxError('verification', `knox-shell is not root there, but user ${uid}`)
  emit({ type: 'note', text: 'root’s shell answers (knox-shell)' })
  if (!(await refusesPlainKeys(login, box)))
    throw new KnoxError('verification', 'a login without a certificate gets in')
  emit({ type: 'note', text: 'a login without a certificate is refused' })
}

export interface Restart {
  readonly box: Box
  readonly passphrase: Secret
  readonly login: OwnLogin
  readonly folder: string
  readonly undoAfter: number
  readonly files: readonly PlannedFile[]
}

/** a slow machine that checks its file systems */
const STARTING = 900

const checkAll = async (
  runner: Runner,
  files: readonly PlannedFile[],
  emit: Emit,
): Promise<readonly Check[]> => {
  const machine = await runner.read(await look(files.map(({ path }) => path)))
  const running = {
    mounts: await runner.read(mountTable),
    swap: await runner.read(swapInUse),
    processes: await runner.read(processNames),
  }
  for (const text of remarksOf(files, running)) emit({ type: 'warning', text })
  return checksOf(files, running, machine)
}

/**
 * Restarts the machine with the switch set again, so that one that starts but cannot be reached goes back to its old files and
 * starts once more; logs in, confirms, and returns what was checked. Throws `unreachable` if it does not come back.
 */
export const restartMachine = async (restart: Restart, emit: Emit): Promise<readonly Check[]> => {
  const { box, passphrase, login, folder, undoAfter, files } = restart
  emit({ type: 'step', title: 'restarting the machine' })
  const before = await withShell(box, passphrase, emit, async (runner) => {
    const time = await runner.read(bootTime)
    await runner.act(boxStep(folder, 'restart', undoAfter))
    return time
  })
  emit({ type: 'step', title: 'waiting until it is back' })
  await pause(5)
  const isBack = () =>
    withShell(box, passphrase, silent, async (runner) => {
      if ((await runner.read(bootTime)) === before)
        throw new KnoxError('unreachable', 'it has not restarted yet', [
          'it stays adopted; restart it at its console, so that swap, fstab, ttys and loader.conf are in force',
        ])
    })
  try {
    await whileUnreachable(STARTING, 5, isBack)
  } catch (error) {
    // its old sshd has another host key, and knows no certificates
    if (!(error instanceof KnoxError) || error.code !== 'key-rejected') throw error
    throw new KnoxError(
      'verification',
      'the machine could not be reached in time, and has gone back to its old files',
      [...error.hints, `the new ones are listed in ${folder}`],
    )
  }
  emit({ type: 'step', title: 'looking at it' })
  await proveLogins(box, passphrase, login, folder, emit)
  return withShell(box, passphrase, emit, async (runner) => {
    await runner.act(boxStep(folder, 'confirm'))
    return checkAll(runner, files, emit)
  })
}
