import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError, type ExitName } from '../provision/core/errors.ts'
import { LOGINS, type Login } from '../provision/core/keys.ts'
import {
  folderProblems,
  initialFiles,
  initKeys,
  renewLogins,
  signLogins,
} from '../provision/keys/key-folder.ts'
import { listKeys, type ListedKey } from '../provision/keys/list-keys.ts'
import { homeFolder } from '../provision/system/config-file.ts'

const DAY = 86_400_000

const loginsOf = (knox: Knox): readonly Login[] => {
  const wanted = knox.args.text('login')
  const found = LOGINS.filter((login) => wanted === undefined || login === wanted)
  if (found.length === 0)
    throw new KnoxError('usage', `there is no login ${JSON.stringify(wanted)}`, [
      `one of ${LOGINS.join(', ')}`,
    ])
  return found
}

const signOptionsOf = (knox: Knox) => {
  const days = knox.args.text('validity')
  if (days !== undefined && !/^[1-9][0-9]{0,4}d$/.test(days))
    throw new KnoxError('usage', `${JSON.stringify(days)} is not a validity`, [
      'a number of days, such as 365d',
    ])
  const sourceAddress = knox.args.text('source-address')
  if (sourceAddress !== undefined && !/^[0-9a-fA-F.:/,]+$/.test(sourceAddress))
    throw new KnoxError('usage', `${JSON.stringify(sourceAddress)} is not a list of networks`, [
      'such as 203.0.113.7/32',
    ])
  const validUntil = days === undefined ? undefined : new Date(Date.now() + Number.parseInt(days, 10) * DAY)
  return { validUntil, sourceAddress }
}

const describeKey = ({ file, kind, fingerprint, certificate }: ListedKey): string =>
  [
    `${file.padEnd(22)} ${kind.padEnd(10)} ${fingerprint}`,
    ...(certificate === undefined
      ? []
      : [
          `  certificate ${certificate.serial} for ${certificate.principals.join(', ')}, ` +
            `valid ${certificate.validUntil === undefined ? 'for ever' : `until ${certificate.validUntil}`}`,
          `  may do: ${certificate.forcedCommand ?? 'anything (a root shell)'}` +
            (certificate.sourceAddress === undefined ? '' : `, from ${certificate.sourceAddress} only`),
        ]),
  ].join('\n')

const init = async (knox: Knox, folder: string, boxName: string): Promise<void> => {
  const options = { ...signOptionsOf(knox), force: knox.args.flag('force'), now: new Date() }
  if (knox.dryRun) {
    knox.result([`would make in ${folder}:`, ...initialFiles].join('\n'), { folder, files: initialFiles })
    return
  }
  const passphrase = await knox.passphrase('passphrase for the authority and knox-shell', { twice: true })
  await initKeys(folder, boxName, passphrase, options)
  knox.emit({
    type: 'warning',
    text: `${folder} now holds the only keys of the box ${boxName} and its disk`,
    hint: 'keep a copy of that folder somewhere else than on the pool',
  })
}

const list = async (knox: Knox, folder: string): Promise<ExitName | undefined> => {
  const problems = await folderProblems(folder)
  const keys = await listKeys(folder)
  knox.result(keys.map(describeKey).join('\n'), { folder, keys, problems })
  for (const text of problems) knox.emit({ type: 'warning', text })
  return problems.length === 0 ? undefined : 'config'
}

/** Exit: 0 done, 2 unknown words, 3 keys missing or open to others (list), 4 keys are there already, 12 wrong passphrase. */
export const keys = defineCommand({
  name: 'keys',
  summary: 'make, list, sign and renew the keys of the box',
  positionals: 'init|list|sign|renew',
  details: [
    'init   a certificate authority, the box’s host key, three logins, the disk’s key',
    'list   what is there: fingerprints, certificates and what they allow',
    'sign   new certificates for the logins’ keys',
    'renew  new keys and certificates for the logins',
  ].join('\n'),
  options: {
    'passphrase-file': { type: 'string', value: 'FILE', help: 'the passphrase is its first line' },
    force: { type: 'boolean', help: 'init: make new keys, move the old ones into a folder beside them' },
    login: { type: 'string', value: 'NAME', help: 'sign, renew: only knox-shell, knox-fifo or knox-send' },
    validity: {
      type: 'string',
      value: 'DAYS',
      help: 'certificates end after so many days, such as 365d (default: never)',
    },
    'source-address': { type: 'string', value: 'NETS', help: 'certificates count only from these networks' },
  },
  run: async (knox) => {
    const [verb, ...more] = knox.positionals
    const config = await knox.config()
    const folder = homeFolder(config)
    if (more.length === 0 && verb === 'list') return list(knox, folder)
    if (more.length === 0 && verb === 'init') {
      await init(knox, folder, config.box.name)
    } else if (more.length === 0 && (verb === 'sign' || verb === 'renew')) {
      const [logins, options] = [loginsOf(knox), signOptionsOf(knox)]
      if (knox.dryRun) {
        knox.result(`would ${verb} ${logins.join(', ')} in ${folder}`, { verb, logins })
        return undefined
      }
      const passphrase = await knox.passphrase('passphrase of the authority')
      await (verb === 'sign' ? signLogins : renewLogins)(folder, logins, passphrase, options)
    } else
      throw new KnoxError('usage', 'keys takes one of init, list, sign, renew', ['see: knox keys --help'])
    return list(knox, folder)
  },
})
