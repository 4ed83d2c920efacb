import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { mustRun, withOpenDisk, type Pair } from '../../provision/lab/pair.ts'
import { hostileCommand, hostileInputs } from '../box/hostile-inputs.ts'
import type { Attack } from './cell.ts'

/** Whoever holds the two passwordless keys, and in the end the disk's key too, against the box itself. */

/** ends of 20 refusals, so many in one session */
const A_SESSION = 20
const SESSIONS = 25

/** every snapshot of the box that is an anchor, and every dataset, by guid */
const holdings = (pair: Pair): Promise<string> =>
  mustRun(
    pair.box(),
    withOpenDisk(
      pair,
      "{ zfs list -H -r -t snapshot -o guid,userrefs wd | awk '$2 > 0'; zfs list -H -r -o guid wd; } | sort",
    ),
  )

const say = async (pair: Pair, login: string, input: string, command = ''): Promise<string> => {
  const file = join(pair.shared, 'said')
  await writeFile(file, Buffer.from(input, 'latin1'))
  const { stdout, stderr } = await pair.home.run(
    `ssh -F ${pair.dir}/keys/ssh_config -T -o HostName=10.77.0.2 ${login} ${command} <${file} 2>&1`,
    240,
  )
  return stdout + stderr
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

/** A session with the disk unlocked by the stolen key, in which these lines are said. */
const sayUnlocked = async (pair: Pair, lines: readonly string[]): Promise<string> => {
  await writeFile(join(pair.shared, 'lines'), lines.map((line) => `${line}\n`).join(''), 'latin1')
  const ssh = `ssh -F ${pair.dir}/keys/ssh_config -T -o HostName=10.77.0.2`
  return mustRun(
    pair.home,
    `rm -f /tmp/to /tmp/from; mkfifo /tmp/to /tmp/from
     ${ssh} knox-send </tmp/to >/tmp/from 2>&1 & exec 8>/tmp/to 9</tmp/from
     read -r hello <&9; printf 'unlock\\n' >&8; read -r waiting <&9
     ${ssh} knox-fifo <${pair.dir}/keys/geli.key; read -r unlocked <&9
     cat ${pair.shared}/lines >&8; exec 8>&-; cat <&9`,
    240,
  )
}

export const attacks: readonly Attack[] = [
  {
    name: 'random and malicious commands to both forced commands',
    attack: async (pair, dice) => {
      for (const login of ['knox-send', 'knox-fifo'])
        for (let n = 0; n < 5; n += 1) {
          const command = hostileCommand(dice).replaceAll(/[\n\r]/g, ' ')
          assert.match(
            await say(pair, login, '', `-- ${quoted(command)}`),
            /failed usage no command is taken here/,
          )
        }
    },
  },
  {
    name: `random and malicious lines to a locked box, over ${SESSIONS} sessions`,
    attack: async (pair, dice) => {
      for (let n = 0; n < SESSIONS; n += 1) {
        // each of these waits a minute for a key
        const lines = hostileInputs(dice, A_SESSION * 2).filter((line) => !/^unlock\b/.test(line))
        const input = `${(n === 0 ? ['unlock', ...lines] : lines).join('\n')}\n`
        assert.match(await say(pair, 'knox-send', input), /^knox 1 knox locked[^]*locked\s*$/)
      }
    },
  },
  {
    name: 'random and malicious lines to an unlocked box: no anchor and no dataset is lost',
    attack: async (pair, dice) => {
      const before = await holdings(pair)
      for (let n = 0; n < 5; n += 1) {
        const lines = hostileInputs(dice, A_SESSION * 4).filter((line) => !line.startsWith('scrub'))
        assert.match(await sayUnlocked(pair, lines), /locked\s*$/)
      }
      const after = await holdings(pair)
      for (const line of before.trim().split('\n')) assert.ok(after.includes(line), `lost: ${line}`)
    },
  },
  {
    name: 'the keys are stolen: everything is destroyed that can be, and renamed',
    quick: true,
    attack: async (pair) => {
      const before = await holdings(pair)
      const names = await mustRun(pair.box(), withOpenDisk(pair, 'zfs list -H -r -t snapshot -o name wd'))
      const destroys = names
        .trim()
        .split('\n')
        .map((name) => `destroy\t${name.replace('@', '\t')}`)
      const said = await sayUnlocked(pair, [
        ...destroys,
        'receive\tfull\twd/film',
        'rollback\twd/film',
        'destroy\twd',
        'rename\twd/film\twd/hostage',
        'bye',
      ])
      assert.match(said, /failed refused .*is the newest one/)
      assert.match(said, /failed refused wd\/film has snapshots/)
      assert.match(said, /locked\s*$/)
      const after = await holdings(pair)
      for (const line of before.trim().split('\n')) assert.ok(after.includes(line), `lost: ${line}`)
    },
  },
  {
    name: 'a flood of 60 snapshots with forged names: the anchors stay',
    attack: async (pair) => {
      const before = await holdings(pair)
      await mustRun(
        pair.home,
        'for n in $(seq 60); do zfs snapshot tank/film@2099-01-01T00:00:$n; done; zfs snapshot -r tank@after-the-flood',
      )
      const { exitCode, stderr } = await pair.knox('backup').ended
      assert.equal(exitCode, 0, stderr)
      const after = await holdings(pair)
      const lost = before
        .trim()
        .split('\n')
        .filter((line) => !after.includes(line))
      // the newest of each of three datasets may be let go of for a newer one of the same day
      assert.ok(lost.length <= 3, `lost: ${lost.join(', ')}`)
    },
  },
]
