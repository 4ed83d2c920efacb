import { quoteAll } from '../core/quote.ts'
import type { Output } from '../system/process.ts'
import { serveBox, startWorld, type World } from './world.ts'

/** The demo, inside a guest of the lab: the whole story on a real pool, told with short captions. */

const write = (text: string) => void process.stdout.write(`${text}\n`)

let chapter = 0
const caption = (text: string): void => {
  chapter += 1
  write(`\n${chapter}. ${text}`)
}

const indent = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => `     ${line}`)
    .join('\n')

/** Runs a verb, shows what the owner would see, and insists on the exit code that the story needs. */
const tell = async (world: World, words: readonly string[], wanted = 0): Promise<Output> => {
  const shown = words.map((word) => word.replace(`${world.dir}/`, ''))
  write(`   $ knox ${quoteAll(shown)}`)
  const output = await world.knox(...words)
  const text = `${output.stderr}${output.stdout}`.replaceAll(`${world.dir}/`, '')
  if (text.trim() !== '') write(indent(text))
  if (output.exitCode !== wanted)
    throw new Error(`the story ended early: exit ${String(output.exitCode)}, not ${wanted}`)
  if (wanted !== 0) write(`     (exit ${wanted})`)
  return output
}

const at = async (world: World, line: string): Promise<void> => {
  write(`   $ ${line}`)
  const text = await world.home(line)
  if (text.trim() !== '') write(indent(text))
}

const locked = async (world: World): Promise<void> => {
  const left = await world.leftovers()
  if (left.length > 0) throw new Error(`left on the box: ${left.join(', ')}`)
  write('   the box: disk detached, pool exported, no key, no pipe, no process left')
}

const story = async (world: World): Promise<void> => {
  const passphrase = ['--passphrase-file', `${world.dir}/passphrase`]
  caption(
    'a home with a real ZFS pool, and a box behind sshd that takes only certificates of our own authority',
  )
  await at(world, `cat ../knox.yaml | sed 's#${world.dir}/##'`)
  await tell(world, ['keys', 'init', ...passphrase])
  await serveBox(world)

  caption('the box gets a disk: encrypted, proved to open, a pool made, locked again')
  await tell(world, ['prepare-disk', '--yes', ...passphrase])
  await locked(world)

  caption('some photographs, and the first backup; the key is on the box for these seconds only')
  await at(
    world,
    'zfs create tank/photos; dd if=/dev/urandom of=photos/holiday.raw bs=1M count=2 2>/dev/null; zfs list -o name,used',
  )
  await tell(world, ['snapback'])
  await locked(world)

  caption('a change: only the difference travels')
  await at(
    world,
    'echo "the cat, at last" > photos/cat.txt; zfs create "tank/old letters"; echo dear > "old letters/1.txt"',
  )
  await tell(world, ['snapback'])

  caption('the proof: every file on the box’s disk against home’s, by SHA-256')
  await world.box(
    `geli attach -p -k ${world.dir}/keys/geli.key da0 && zpool import -d /dev -N -f -o readonly=on -o cachefile=none wd`,
  )
  const hashes = async (pool: string) =>
    world.home(
      `s=$(zfs list -H -d 1 -t snapshot -o name -s createtxg ${pool}/photos | tail -n 1); mkdir -p ../look; mount -t zfs -o ro "$s" ../look; ` +
        '(cd ../look; find . -type f -exec sha256sum {} + | sort); umount ../look',
    )
  const [home, box] = [await hashes('tank'), await hashes('wd')]
  await world.box('zpool export wd; geli detach da0')
  if (home !== box || home.trim() === '') throw new Error('the files differ')
  write(indent(home))
  write('   the same on both sides')

  caption('nothing new: the box is only asked whether it lives, the disk stays locked')
  await tell(world, ['backup'])

  caption('somebody with a wrong key')
  await world.home('cd ../keys; mv geli.key right; head -c 1024 /dev/urandom > geli.key; chmod 600 geli.key')
  await tell(world, ['backup', '--prove'], 12)
  await world.home('cd ../keys; mv right geli.key')
  await locked(world)

  caption('where things stand')
  await tell(world, ['status'])
  await locked(world)
}

const world = await startWorld({ box: 'bare' })
try {
  await story(world)
  write(
    '\nThat was all of it: real ZFS, real sshd, an encrypted disk; only geli and the disk tools were stand-ins (docs/lab.md).',
  )
} catch (error) {
  write(`\n${String(error)}`)
  process.exitCode = 1
} finally {
  await world.stop()
}
