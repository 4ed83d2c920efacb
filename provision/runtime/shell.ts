import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Runner } from '../core/command.ts'
import type { Emit } from '../core/events.ts'
import { quoteForLogin } from '../core/quote.ts'
import type { Secret } from '../core/secret.ts'
import { unlockPrivateKey } from '../keys/key-folder.ts'
import { exists, withTempDir } from '../system/files.ts'
import { openChannel, run, type Channel } from '../system/process.ts'
import { failureOf, runnerAt, type Place } from '../system/runner.ts'
import { SSH_FAILURES, sshArgv, type SshTarget } from '../tools/ssh.ts'
import { atBox, type Box } from './target.ts'

const READY_SECONDS = 60

/** Waits for a file that a child makes; throws what the child said if it ends first. */
const waitFor = async (path: string, child: Channel): Promise<void> => {
  const late = Date.now() + READY_SECONDS * 1000
  const ended = child.ended.then(() => 'ended' as const)
  while (!(await exists(path))) {
    const state = await Promise.race([ended, sleep(50, 'waiting' as const)])
    if (state === 'waiting' && Date.now() < late) continue
    child.kill()
    throw failureOf(await child.ended, SSH_FAILURES)
  }
}

/**
 * A private agent that holds one key for as long as the work takes; the key reaches it by stdin.
 * It ends with the pipe from this process, so that a knox that is killed leaves no open key behind.
 */
const withAgent = async <T>(dir: string, key: Secret, work: (socket: string) => Promise<T>): Promise<T> => {
  const socket = join(dir, 'agent')
  const agent = openChannel(['ssh-agent', '-a', socket, '/bin/sh', '-c', 'cat; kill "$SSH_AGENT_PID"'])
  try {
    await waitFor(socket, agent)
    const added = await run(['env', `SSH_AUTH_SOCK=${socket}`, 'ssh-add', '-q', '-'], {
      stdin: key,
      timeout: 30,
    })
    if (added.exitCode !== 0) throw failureOf(added, [])
    return await work(socket)
  } finally {
    agent.end()
    await agent.ended
  }
}

/** One connection as knox-shell, shared by all commands through a socket in a private folder; it ends with this process. */
const withMaster = async <T>(
  target: SshTarget,
  dir: string,
  agent: string,
  work: (place: Place) => Promise<T>,
): Promise<T> => {
  const control = join(dir, 'shell')
  const share = ['-o', `ControlPath=${control}`]
  const master = openChannel(
    sshArgv(target, 'knox-shell', { agent, words: [...share, '-o', 'ControlMaster=yes'], command: 'cat' }),
  )
  try {
    await waitFor(control, master)
    return await work({
      name: target.boxName,
      wrap: (argv) => sshArgv(target, 'knox-shell', { words: share, command: quoteForLogin(argv) }),
      failures: SSH_FAILURES,
    })
  } finally {
    master.kill()
    await master.ended
  }
}

/**
 * Runs work with a root shell on the box, as knox-shell, at the first address that answers.
 * `place` turns an argv into one for a stream. Root's shell may be csh. Throws `key-rejected` for a wrong passphrase.
 */
export const withShell = async <T>(
  box: Box,
  passphrase: Secret,
  emit: Emit,
  work: (runner: Runner, place: Place) => Promise<T>,
): Promise<T> => {
  const key = await unlockPrivateKey(box.folder, 'knox-shell', passphrase)
  return withTempDir((dir) =>
    withAgent(dir, key, (agent) =>
      atBox(box, emit, (target) =>
        withMaster(target, dir, agent, (place) => work(runnerAt(place, emit), place)),
      ),
    ),
  )
}
