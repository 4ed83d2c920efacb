import { openChannel } from '../../provision/system/process.ts'

/** Feeds 512 MiB to a peer; prints the most memory that this process ever had, in MiB. */
const channel = openChannel(['sh', '-c', 'cat >/dev/null; echo done'])
const feed = channel.feed(['head', '-c', String(512 * 1024 * 1024), '/dev/zero'], () => undefined)
const { exitCode } = await feed.ended
channel.end()
const line = await channel.readLine()
await channel.ended
process.stdout.write(
  `${String(exitCode)} ${String(line)} ${Math.ceil(process.resourceUsage().maxRSS / 1024)}\n`,
)
