import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

/** A real sshd for the tests of the rendered sshd_config. */

export const SSHD = '/usr/sbin/sshd'
const PRIVSEP = '/run/sshd'
const isRoot = process.getuid?.() === 0

const whyNot = (needsRoot: boolean): string | false => {
  if (!existsSync(SSHD)) return `there is no ${SSHD} here`
  if (needsRoot && !isRoot) return 'needs root, to log in as root'
  return isRoot || existsSync(PRIVSEP) ? false : `sshd wants ${PRIVSEP}, which only root can make`
}

/** Why sshd cannot look at a file here, or false if it can. */
export const noSshd = whyNot(false)

/** Why nobody can log in as root here, or false. */
export const noLogin = whyNot(true)

/** What Debian's sshd needs beside its configuration. */
export const prepare = async (): Promise<void> => {
  if (isRoot) await mkdir(PRIVSEP, { recursive: true, mode: 0o755 })
}

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

const answers = (port: number, host: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, host)
    socket.on('error', () => resolve(false))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })

const isUp = async (sshd: ChildProcess, port: number, host: string): Promise<boolean> => {
  for (let attempt = 0; attempt < 200 && sshd.exitCode === null; attempt += 1) {
    if (await answers(port, host)) return true
    await sleep(25)
  }
  return false
}

/** Starts sshd with this file, on a port of its own if none is said, until the test is over; returns the port. */
export const startSshd = async (
  t: TestContext,
  config: string,
  { host = '127.0.0.1', port: wanted }: { readonly host?: string; readonly port?: number } = {},
): Promise<number> => {
  await prepare()
  let said = ''
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const port = wanted ?? (await freePort())
    const words = ['-D', '-e', '-f', config, '-p', port.toString()]
    const options = ['-o', `ListenAddress=${host}`, '-o', 'PidFile=none']
    const sshd = spawn(SSHD, [...words, ...options], { stdio: ['ignore', 'ignore', 'pipe'] })
    sshd.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    t.after(async () => {
      if (sshd.exitCode !== null || sshd.signalCode !== null) return
      const ended = once(sshd, 'close')
      sshd.kill('SIGTERM')
      await ended
    })
    if (await isUp(sshd, port, host)) return port
  }
  throw new Error(`sshd does not start: ${said}`)
}
