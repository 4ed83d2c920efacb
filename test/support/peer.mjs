// A peer for the tests of openChannel: node peer.mjs MODE ARGUMENT
import { createHash } from 'node:crypto'
import { readSync, writeSync } from 'node:fs'

const [mode, argument = ''] = process.argv.slice(2)
const byte = Buffer.alloc(1)

const readLine = () => {
  const bytes = []
  while (readSync(0, byte) === 1) {
    if (byte[0] === 10) return Buffer.from(bytes).toString()
    bytes.push(byte[0])
  }
  return undefined
}

/** exactly this many bytes; nothing behind them is touched */
const hashOf = (length) => {
  const hash = createHash('sha256')
  const buffer = Buffer.alloc(65_536)
  for (let left = length; left > 0;) {
    const got = readSync(0, buffer, 0, Math.min(left, buffer.length))
    if (got === 0) return `short by ${left}`
    hash.update(buffer.subarray(0, got))
    left -= got
  }
  return hash.digest('hex')
}

const modes = {
  /** writes these chunks (JSON, base64), each by itself */
  chunks: async () => {
    for (const chunk of JSON.parse(argument)) {
      writeSync(1, Buffer.from(chunk, 'base64'))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  },
  /** for each line: a number is answered with the hash of that many bytes behind it, the rest with itself */
  exchange: () => {
    for (let line = readLine(); line !== undefined; line = readLine())
      writeSync(1, `${/^[0-9]+$/.test(line) ? hashOf(Number(line)) : line}\n`)
    writeSync(1, 'end\n')
  },
  /** lines without end */
  flood: () => {
    const lines = 'x'.repeat(99).concat('\n').repeat(500)
    for (;;) writeSync(1, lines)
  },
  /** a line that does not end */
  long: () => {
    writeSync(1, 'first\n')
    for (;;) writeSync(1, 'x'.repeat(1000))
  },
}

try {
  await modes[mode]()
} catch (error) {
  if (error.code !== 'EPIPE') throw error
}
