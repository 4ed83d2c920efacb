import type { ChildProcess } from 'node:child_process'

/** How a child ended, and what it has said. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Waits for the end of a child; its stdout and stderr must be pipes, or are taken as empty. */
export const ended = (child: ChildProcess): Promise<Ran> =>
  new Promise((done, reject) => {
    let [stdout, stderr] = ['', '']
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code) => done({ code, stdout, stderr }))
  })
