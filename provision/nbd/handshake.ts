import type { Peer } from './peer.ts'
import {
  blockSizeInfo,
  exportInfo,
  exportReply,
  FIXED_NEWSTYLE,
  greeting,
  INFO_BLOCK_SIZE,
  listed,
  NO_ZEROES,
  OPTION_MAGIC,
  optionReply,
  OPTIONS,
  parseInfoRequest,
  REPLIES,
  type Export,
} from './protocol.ts'

/** no option that is known here has more data than a name of 4096 bytes and some numbers */
const LONGEST_OPTION = 8192
/** what is longer is answered without being kept; what is longer than this is no option */
const LONGEST_SKIPPED = 2 ** 20
const MOST_OPTIONS = 256

type Next = 'transmission' | 'more' | 'end'

const isKnown = (name: string, device: Export): boolean => name === '' || name === device.name

const answerInfo = async (peer: Peer, device: Export, option: number, data: Buffer): Promise<Next> => {
  const request = parseInfoRequest(data)
  if (request === undefined) {
    await peer.send(optionReply(option, REPLIES.invalid))
    return 'more'
  }
  if (!isKnown(request.name, device)) {
    await peer.send(optionReply(option, REPLIES.unknown))
    return 'more'
  }
  await peer.send(
    optionReply(option, REPLIES.info, exportInfo(device)),
    ...(request.wanted.includes(INFO_BLOCK_SIZE) ? [optionReply(option, REPLIES.info, blockSizeInfo())] : []),
    optionReply(option, REPLIES.ack),
  )
  return option === OPTIONS.go ? 'transmission' : 'more'
}

const answer = async (
  peer: Peer,
  device: Export,
  noZeroes: boolean,
  option: number,
  data: Buffer,
): Promise<Next> => {
  switch (option) {
    case OPTIONS.exportName:
      // it has no reply that says no
      if (!isKnown(data.toString(), device)) return 'end'
      await peer.send(exportReply(device, noZeroes))
      return 'transmission'
    case OPTIONS.abort:
      await peer.send(optionReply(option, REPLIES.ack))
      return 'end'
    case OPTIONS.list:
      if (data.length > 0) await peer.send(optionReply(option, REPLIES.invalid))
      else
        await peer.send(
          optionReply(option, REPLIES.server, listed(device.name)),
          optionReply(option, REPLIES.ack),
        )
      return 'more'
    case OPTIONS.info:
    case OPTIONS.go:
      return answerInfo(peer, device, option, data)
    default:
      await peer.send(optionReply(option, REPLIES.unsupported))
      return 'more'
  }
}

/** One option and its answer. */
const haggle = async (peer: Peer, device: Export, flags: number): Promise<Next> => {
  const header = await peer.take(16)
  if (header === undefined || header.readBigUInt64BE(0) !== OPTION_MAGIC) return 'end'
  const option = header.readUInt32BE(8)
  const length = header.readUInt32BE(12)
  // a client of the first newstyle negotiation has this one option, and knows no answers
  if (option !== OPTIONS.exportName && (flags & FIXED_NEWSTYLE) === 0) return 'end'
  if (length > LONGEST_OPTION) {
    if (option === OPTIONS.exportName || length > LONGEST_SKIPPED || !(await peer.skip(length))) return 'end'
    await peer.send(optionReply(option, REPLIES.tooBig))
    return 'more'
  }
  const data = await peer.take(length)
  return data === undefined ? 'end' : answer(peer, device, (flags & NO_ZEROES) !== 0, option, data)
}

/** Newstyle negotiation, fixed or not. True if requests come next, false if the client is to be let go. */
export const shakeHands = async (peer: Peer, device: Export): Promise<boolean> => {
  await peer.send(greeting())
  const flags = (await peer.take(4))?.readUInt32BE(0)
  if (flags === undefined || (flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) return false
  for (let count = 0; count < MOST_OPTIONS; count += 1) {
    const next = await haggle(peer, device, flags)
    if (next !== 'more') return next === 'transmission'
  }
  return false
}
