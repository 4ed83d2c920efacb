import {
  KINDS,
  NUMBERS,
  OUTSIDE,
  PARTS,
  PATH_PARTS,
  PAYLOADS as TEXTS,
  SNAPSHOTS,
  STRANGE_VERBS,
  VERBS,
} from './hostile-words.ts'

/** What a hostile home may say to the box's script, by a seed: the same seed gives the same inputs. Strings are bytes (latin1). */

/** A number below `limit`. */
export type Dice = (limit: number) => number

/** mulberry32: small, and good enough to choose from lists. */
export const diceOf = (seed: number): Dice => {
  let state = seed >>> 0
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
}

const PAYLOADS = TEXTS.map((text) => Buffer.from(text).toString('latin1'))

const oneOf = <T>(dice: Dice, list: readonly T[]): T => list[dice(list.length)]!

const payloadOf = (dice: Dice): string => oneOf(dice, PAYLOADS)

const several = (count: number, make: () => string): readonly string[] => Array.from({ length: count }, make)

const bytesOf = (dice: Dice, length: number): string =>
  several(length, () => String.fromCharCode(dice(256))).join('')

/** A name: of this pool, of none, or of nothing at all. */
const datasetOf = (dice: Dice): string => {
  switch (dice(12)) {
    case 0:
      return oneOf(dice, ['wd', 'wd/a'])
    case 1:
      return `wd/${oneOf(dice, PARTS)}`
    case 2:
    case 3:
      return oneOf(dice, OUTSIDE)
    case 4:
      return `wd/${'ab/'.repeat(dice(200))}c`
    case 5:
      return `wd/${bytesOf(dice, dice(20))}`
    case 6:
      return `${oneOf(dice, ['wd', 'wd/a'])}@${oneOf(dice, ['x', 's1', 's1,s2', '', payloadOf(dice)])}`
    case 7:
      return payloadOf(dice)
    default:
      return `wd/${payloadOf(dice)}`
  }
}

const snapshotOf = (dice: Dice): string => (dice(3) === 0 ? oneOf(dice, SNAPSHOTS) : payloadOf(dice))

const argumentsOf = (dice: Dice, verb: string): readonly string[] => {
  const dataset = () => datasetOf(dice)
  const snapshot = () => snapshotOf(dice)
  switch (verb) {
    case 'receive':
      return [oneOf(dice, KINDS), dataset()]
    case 'place':
    case 'discard':
      return [dataset()]
    case 'rename':
      return [dataset(), dataset()]
    case 'destroy':
      return [dataset(), ...several(1 + dice(dice(8) === 0 ? 200 : 4), snapshot)]
    case 'look':
      return [dataset(), snapshot()]
    case 'hash':
      return [several(1 + dice(4), () => oneOf(dice, [...PAYLOADS, ...PATH_PARTS])).join('/')]
    case 'scrub':
      // a lease that is taken must outlive the test
      return [dice(4) === 0 ? `${100 + dice(90_000)}` : oneOf(dice, [...PAYLOADS, ...NUMBERS])]
    default:
      return []
  }
}

const SEPARATORS = [...several(7, () => '\t'), '\t\t', ' ', ' \t']

/** Words that a verb takes, with one of them now and then too many or too few. */
const lineOf = (dice: Dice): string => {
  const verb = dice(6) === 0 ? oneOf(dice, STRANGE_VERBS) : oneOf(dice, VERBS)
  const words = [verb, ...argumentsOf(dice, verb)]
  if (dice(8) === 0) words.pop()
  if (dice(8) === 0) words.splice(dice(words.length + 1), 0, payloadOf(dice))
  return words.join(oneOf(dice, SEPARATORS))
}

/** Things that are no line of words at all. */
const garbageOf = (dice: Dice): string => {
  switch (dice(6)) {
    case 0:
      return bytesOf(dice, dice(300))
    case 1:
      return oneOf(dice, ['\t', ' ', 'x', '\0', '\\', "'", '\xc3\xbc', '\x80']).repeat(dice(6000))
    case 2:
      return ''
    case 3:
      return several(dice(40), () => payloadOf(dice)).join('\t')
    case 4:
      return payloadOf(dice)
    default:
      return `${lineOf(dice)}\r`
  }
}

/** A command that ssh may hand over; without NUL, which no environment holds. */
export const hostileCommand = (dice: Dice): string =>
  [
    oneOf(dice, ['', 'session', 'key', 'sh -c ', '-', 'internal-sftp', 'scp -t ']),
    payloadOf(dice),
    dice(2) === 0 ? lineOf(dice) : '',
    'x',
  ]
    .join('')
    .replaceAll('\0', '')

/** A stream of the zfs stand-in, full of lines that would be obeyed if they were read as such. */
export const hostileStream = (dice: Dice): Buffer => {
  const body = Buffer.from(`bye\nunlock\nplace\twd/from the stream\n${bytesOf(dice, dice(100))}`, 'latin1')
  return Buffer.concat([Buffer.from(body.length.toString().padStart(6, '0')), body])
}

/** So many inputs, each without the newline that ends it. */
export const hostileInputs = (dice: Dice, count: number): readonly string[] =>
  several(count, () => (dice(6) === 0 ? garbageOf(dice) : lineOf(dice)))
