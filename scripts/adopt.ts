import { defineCommand, type Knox } from '../provision/cli/command.ts'
import type { Board } from '../provision/core/config.ts'
import { KnoxError } from '../provision/core/errors.ts'
import { overlayOf, readBoxKeys } from '../provision/image/overlay.ts'
import { unlockPrivateKey } from '../provision/keys/key-folder.ts'
import { adoptMachine, keepFolder } from '../provision/runtime/adopt.ts'
import { describeChange } from '../provision/runtime/adopt-diff.ts'
import { look } from '../provision/runtime/adopt-look.ts'
import { ownAddress, withOwnLogin, type OwnLogin } from '../provision/runtime/adopt-login.ts'
import { boxOn, changedFiles, planAdoption } from '../provision/runtime/adopt-plan.ts'
import { proveLogins, restartMachine } from '../provision/runtime/adopt-proof.ts'
import { noAddress, prepareBox } from '../provision/runtime/target.ts'
import { findConfig, homeFolder } from '../provision/system/config-file.ts'
import { editConfig } from '../provision/system/edit-config.ts'
import { withLock } from '../provision/system/lock.ts'

const UNDO_AFTER = 300

const undoAfterOf = (knox: Knox): number => {
  const text = knox.args.text('undo-after') ?? UNDO_AFTER.toString()
  const seconds = /^[0-9]{1,4}$/.test(text) ? Number(text) : 0
  if (seconds >= 5 && seconds <= 3600) return seconds
  throw new KnoxError('usage', `--undo-after ${JSON.stringify(text)} is not 5 to 3600 seconds`)
}

const loginOf = (knox: Knox): OwnLogin => {
  const [address, ...more] = knox.positionals
  if (address === undefined || more.length > 0)
    throw new KnoxError('usage', 'adopt needs one ADDRESS', ['see: knox adopt --help'])
  return { address, user: knox.args.text('user') ?? 'root', config: knox.args.text('ssh-config') }
}

/** knox.yaml says of the box what it is, for what is made of it later. */
const rememberBoard = async (knox: Knox, was: Board, board: Board): Promise<void> => {
  const path = board === was ? undefined : await findConfig(knox.configPath)
  if (path === undefined) return
  await editConfig(path, (document) => document.setIn(['box', 'board'], board))
  knox.emit({ type: 'note', text: `${path} now says board: ${board}` })
}

/** It is adopted already: whoever does not want the restart now has refused nothing. */
const wantsRestart = async (knox: Knox): Promise<boolean> => {
  if (!knox.interactive) return false
  try {
    await knox.confirm('restart it now, so that all of it is in force, and check it then?')
    return true
  } catch (error) {
    if (!(error instanceof KnoxError) || error.code !== 'refused') throw error
    knox.emit({ type: 'note', text: 'swap, fstab, ttys and loader.conf are in force from its next start on' })
    return false
  }
}

/** Exit: 0 adopted and proved, 3 no keys, 4 refused, 10 ssh does not get in, 11 busy, 12 wrong passphrase, 14 taken back, 15 no FreeBSD >= 10.2. */
export const adopt = defineCommand({
  name: 'adopt',
  summary: 'make the box of an installed FreeBSD, such as an old laptop, over your own ssh',
  positionals: 'ADDRESS',
  details: [
    'Shows a diff of every file first, and keeps the old ones on the machine in /root/knox-before.',
    'The machine takes all back by itself unless knox has logged in by certificate and confirmed in time.',
  ].join('\n'),
  options: {
    user: {
      type: 'string',
      value: 'NAME',
      help: 'log in as NAME, who may use sudo or doas without a password (default: root)',
    },
    'ssh-config': {
      type: 'string',
      value: 'FILE',
      help: 'your ssh_config for this machine (default: the usual one)',
    },
    'undo-after': {
      type: 'string',
      value: 'SECONDS',
      help: `until the machine takes all back by itself (default: ${UNDO_AFTER})`,
    },
    reboot: { type: 'boolean', help: 'restart it without asking, and check it afterwards' },
    'passphrase-file': {
      type: 'string',
      value: 'FILE',
      help: 'passphrase of the login knox-shell, first line',
    },
  },
  run: async (knox) => {
    const login = loginOf(knox)
    const undoAfter = undoAfterOf(knox)
    const config = await knox.config()
    const keys = await readBoxKeys(homeFolder(config))
    const configured = await prepareBox(config)
    const own = await ownAddress(login)
    // only there: a former box at another address has the same keys, and would prove nothing
    const box = own === undefined ? configured : { ...configured, addresses: [own] }
    // the proof would have nowhere to go, when all is in place
    if (box.addresses.length === 0) throw noAddress()
    const passphrase = knox.dryRun ? undefined : await knox.passphrase('passphrase of the keys')
    // a wrong one is found out before anything is changed
    if (passphrase !== undefined) await unlockPrivateKey(box.folder, 'knox-shell', passphrase)
    return withLock(box.folder, () =>
      withOwnLogin(login, knox.emit, async (old) => {
        const paths = (await overlayOf(config.box, keys)).map(({ path }) => path)
        const machine = await old.read(await look(paths))
        const real = boxOn(config.box, machine)
        const plan = planAdoption(machine, await overlayOf(real, keys), real)
        const changes = await Promise.all(changedFiles(plan).map(describeChange))
        for (const text of plan.warnings) knox.emit({ type: 'warning', text })
        const found = { version: machine.version, machine: machine.machine, root: machine.root }
        knox.result(changes.join('\n'), { found, changes, warnings: plan.warnings })
        if (passphrase === undefined) return undefined
        await knox.confirm(
          `change these ${changes.length} files on ${login.address} (FreeBSD ${machine.version})?`,
        )
        knox.whenStopped([`the machine takes all back by itself within ${undoAfter} seconds`])
        const folder = keepFolder(new Date())
        const proof = () => proveLogins(box, passphrase, login, folder, knox.emit)
        await adoptMachine(old, plan.files, { folder, undoAfter, proof }, knox.emit)
        knox.whenStopped([])
        await rememberBoard(knox, config.box.board, real.board)
        if (!knox.args.flag('reboot') && !(await wantsRestart(knox))) return undefined
        knox.whenStopped([`the machine takes all back by itself ${undoAfter} seconds after its start`])
        const checks = await restartMachine(
          { box, passphrase, login, folder, undoAfter, files: plan.files },
          knox.emit,
        )
        knox.result(checks.map(({ what, ok }) => `${ok ? 'ok' : 'NOT OK'}  ${what}`).join('\n'), { checks })
        if (checks.every(({ ok }) => ok)) return undefined
        throw new KnoxError(
          'verification',
          'the machine is reached by certificate, but not all is as it should be',
        )
      }),
    )
  },
})
