import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { quoteAll } from '../../provision/core/quote.ts'

/** A program at a real terminal: script(1) of util-linux gives it a pseudo-terminal; keys are typed, the screen is read. */
export interface Pty {
  /** keys as the terminal sends them: Enter is \r */
  readonly type: (keys: string) => void
  /** waits until this stands on the screen after what was waited for before; throws with the screen if it does not come */
  readonly see: (pattern: RegExp, seconds?: number) => Promise<void>
  /** all that was written, without colours and cursor movements */
  readonly screen: () => string
  /** all that was written, byte for byte */
  readonly raw: () => string
  readonly ended: Promise<number>
}

export const ENTER = '\r'
export const CTRL_C = '\u0003'
export const DOWN = '\u001b[B'

const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]|\u001b[()][AB0]|\u0007|\r/g

/** Starts a program at a terminal of this width. */
export const startPty = (
  argv: readonly string[],
  options: { readonly cwd: string; readonly env?: NodeJS.ProcessEnv; readonly columns?: number },
): Pty => {
  const line = `stty cols ${options.columns ?? 80} rows 24; exec ${quoteAll(argv)}`
  const child = spawn('script', ['-qfec', line, '/dev/null'], {
    cwd: options.cwd,
    env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh', ...options.env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let raw = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (raw += text))
  child.stdin.on('error', () => undefined)
  const screen = () => raw.replaceAll(ESCAPES, '')
  let seen = 0
  let isOver = false
  const ended = once(child, 'close').then(([code]) => {
    isOver = true
    return code as number
  })
  return {
    type: (keys) => void child.stdin.write(keys),
    screen,
    raw: () => raw,
    ended,
    see: async (pattern, seconds = 60) => {
      const late = Date.now() + seconds * 1000
      for (;;) {
        await sleep(50)
        const match = pattern.exec(screen().slice(seen))
        if (match !== null) {
          seen += match.index + match[0].length
          return
        }
        if (isOver || Date.now() > late) {
          child.kill()
          throw new Error(`${String(pattern)} did not come:\n${screen().slice(-3000)}`)
        }
      }
    },
  }
}
