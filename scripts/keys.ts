import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { defineCommand, type Knox } from '../provision/cli/command.ts'
import { KnoxError, messageOf, type ExitName } from '../provision/core/errors.ts'
import { LOGINS, type Login } from '../provision/core/keys.ts'
import {
  backupKeys,
  checkPassphrase,
  ensureKeyFolder,
  formatEnd,
  initKeys,
  listKeys,
  openKeysBackup,
  parseSourceAddress,
  parseValidity,
  planInit,
  planSigning,
  problemOfPassphrase,
  renewLogins,
  requireKeys,
  restoreKeys,
  signLogins,
  type PlannedCertificate,
} from '../provision/keys/key-folder.ts'
import { keyTable } from '../provision/keys/key-table.ts'
import { isOnOwnDisk } from '../provision/runtime/own-disk.ts'
import {
  findConfig,
  homeFolder,
  loadConfig,
  newConfigPath,
  parseConfig,
} from '../provision/system/config-file.ts'
import { editText, putKeyFolder } from '../provision/system/edit-config.ts'
import { writeFileAtomic } from '../provision/system/files.ts'
import { withLock } from '../provision/system/lock.ts'

const PASSPHRASE = 'passphrase of the keys'
const NEW = { twice: true, problem: problemOfPassphrase }

const init = async (knox: Knox): Promise<ExitName | undefined> => {
  const config = await knox.config()
  const folder = homeFolder(config)
  const force = knox.args.flag('force')
  const plan = await planInit(folder, force)
  if (knox.dryRun) {
    const aside = plan.replaced.map((file) => `would move aside ${file}`)
    const text = [...aside, ...plan.files.map((file) => `would make ${folder}/${file}`)].join('\n')
    knox.result(text, { folder, ...plan })
    return undefined
  }
  const passphrase = await knox.passphrase(`new ${PASSPHRASE}`, NEW)
  checkPassphrase(passphrase)
  await ensureKeyFolder(folder)
  const made = await withLock(folder, () =>
    initKeys(folder, { boxName: config.box.name, passphrase, force, now: new Date() }),
  )
  if (made.replaced !== undefined)
    knox.emit({
      type: 'warning',
      text: `the keys that stood there are now in ${made.replaced}`,
      hint: 'a disk that was prepared with the old geli.key opens with that one only: keep it',
    })
  const text = [
    `keys of ${config.box.name} made in ${folder}`,
    `  CA key    ${made.caFingerprint}`,
    `  host key  ${made.hostKeyFingerprint}`,
    'without geli.key and the passphrase the backup cannot be read: keep a copy of this folder away from home and box',
  ].join('\n')
  knox.result(text, { folder, ...made })
  return undefined
}

const list = async (knox: Knox): Promise<ExitName | undefined> => {
  const folder = homeFolder(await knox.config())
  const keys = await listKeys(folder)
  knox.result(`${folder}\n${keyTable(keys)}`, { folder, keys })
  return keys.some(({ problems }) => problems.length > 0) ? 'config' : undefined
}

const chosenLogins = (name: string | undefined): readonly Login[] => {
  const chosen = LOGINS.filter((login) => name === undefined || login === name)
  if (chosen.length > 0) return chosen
  throw new KnoxError('usage', `there is no login ${JSON.stringify(name)}`, [`one of ${LOGINS.join(', ')}`])
}

const describeCertificate = ({ file, serial, validity, sourceAddress }: PlannedCertificate): string =>
  `${file}: serial ${serial.toString()}, valid ${formatEnd(validity.after)} to ${formatEnd(validity.before)}, ` +
  `from ${sourceAddress.length === 0 ? 'anywhere' : sourceAddress.join(', ')}`

const reissue = async (knox: Knox, act: typeof signLogins, what: string): Promise<ExitName | undefined> => {
  const folder = homeFolder(await knox.config())
  const addresses = knox.args.text('source-address')
  const options = {
    logins: chosenLogins(knox.args.text('login')),
    validity: parseValidity(knox.args.text('validity') ?? 'forever', new Date()),
    sourceAddress:
      addresses === undefined ? undefined : addresses === 'any' ? [] : parseSourceAddress(addresses),
  }
  let certificates = await planSigning(folder, options)
  if (!knox.dryRun) {
    const passphrase = await knox.passphrase(PASSPHRASE)
    certificates = await withLock(folder, () => act(folder, { ...options, passphrase }))
  }
  if (act === renewLogins) {
    const first = certificates.map(({ serial }) => serial).reduce((least, one) => (one < least ? one : least))
    knox.emit({
      type: 'note',
      text: `the certificates before (serials 1 to ${first - 1n}) still open the box; docs/keys.md says how to shut out a login that was stolen`,
    })
  }
  const value = certificates.map(({ login, file, serial, validity, sourceAddress }) => ({
    login,
    file,
    serial: serial.toString(),
    validAfter: formatEnd(validity.after),
    validBefore: formatEnd(validity.before),
    sourceAddress,
  }))
  const title = `${knox.dryRun ? 'would make ' : ''}${what} in ${folder}`
  knox.result([title, ...certificates.map(describeCertificate)].join('\n'), { folder, certificates: value })
  return undefined
}

const FILE_PASSPHRASE = 'passphrase of the file with the keys'

const oneFile = (files: readonly string[], word: string): string => {
  const [file, ...more] = files
  if (file !== undefined && more.length === 0) return file
  throw new KnoxError('usage', `knox keys ${word} takes one file`, [`knox keys ${word} knox-keys.tar`])
}

const backup = async (knox: Knox, words: readonly string[]): Promise<undefined> => {
  const out = oneFile(words, 'backup')
  const config = await knox.config()
  const path = await findConfig(knox.configPath)
  const folder = homeFolder(config)
  await requireKeys(folder)
  if (knox.dryRun) {
    knox.result(`would write ${out}, and ${out}.txt for printing`, { out })
    return undefined
  }
  const passphrase = await knox.passphrase(`new ${FILE_PASSPHRASE}`, NEW)
  checkPassphrase(passphrase)
  const made = await withLock(folder, async () =>
    backupKeys(folder, {
      boxName: config.box.name,
      config: path === undefined ? '' : await readFile(path, 'utf8'),
      out,
      passphrase,
      now: new Date(),
      force: knox.args.flag('force'),
    }),
  )
  const text = [
    `${made.file} holds the keys and knox.yaml; it was opened once with openssl and tar, and compared`,
    `${made.sheet} is a page for printing, without secrets; it says how to open the file without knox:`,
    ...made.commands.map((command) => `  ${command}`),
    'unmount the stick before it is pulled out, and keep both away from home and from the box',
  ].join('\n')
  if (await isOnOwnDisk(made.file, folder, config.home.pool))
    knox.emit({
      type: 'warning',
      text: `${made.file} is on a disk of this machine: it is lost when that is`,
      hint: 'copy both files to a stick, and keep it in another house',
    })
  knox.result(text, made)
  return undefined
}

/** What the place is to blame for that is written to: a stick pulled out, a folder of another user, a full disk. */
const unwritable =
  (what: string, hint: string) =>
  (error: unknown): never => {
    if (error instanceof KnoxError) throw error
    throw new KnoxError('config', `${what} cannot be written: ${messageOf(error)}`, [hint])
  }

const restore = async (knox: Knox, words: readonly string[]): Promise<undefined> => {
  const file = oneFile(words, 'restore')
  const opened = await openKeysBackup(file, await knox.passphrase(FILE_PASSPHRASE))
  const config = parseConfig(opened.config, 'knox.yaml')
  const to = knox.args.text('to')
  const folder = to === undefined ? homeFolder(config) : resolve(to)
  const yaml = to === undefined ? opened.config : editText(opened.config, 'knox.yaml', putKeyFolder(folder))
  const path = newConfigPath(knox.configPath)
  const isNew = (await findConfig(path)) === undefined
  const names = opened.files.map(({ name }) => name)
  if (knox.dryRun) {
    knox.result(`would put into ${folder}: ${names.join(', ')}`, { folder, files: names })
    return undefined
  }
  await restoreKeys(folder, opened.files).catch(
    unwritable(`the key folder ${folder}`, 'the same command goes on there; --to DIR names another folder'),
  )
  if (isNew)
    await writeFileAtomic(path, yaml).catch(
      unwritable(
        path,
        `the keys are in ${folder}; the same command writes the rest, elsewhere with --config FILE`,
      ),
    )
  else if ((await loadConfig(path).then(homeFolder, () => undefined)) !== folder)
    knox.emit({
      type: 'warning',
      text: `the keys are in ${folder}; ${path} was there already and does not name that folder`,
      hint: `below home: it wants the line folder: ${folder}`,
    })
  const where = isNew ? `knox.yaml is ${path}` : `${path} was there already and was left alone`
  knox.result(`${names.length} files are in ${folder}; ${where}`, { folder, files: names })
  return undefined
}

type Subcommand = (knox: Knox, words: readonly string[]) => Promise<ExitName | undefined>

const WITH_WORDS: Readonly<Record<string, Subcommand>> = { backup, restore }

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  init,
  list,
  sign: (knox) => reissue(knox, signLogins, 'new certificates'),
  renew: (knox) => reissue(knox, renewLogins, 'new keys and certificates'),
}

/** Exit: 0 done, 2 short passphrase, 3 a file is missing, damaged or too open, or cannot be written, 4 keys exist, 12 wrong passphrase. */
export const keys = defineCommand({
  name: 'keys',
  summary: 'the keys and certificates of the box, made at home',
  positionals: 'init|list|sign|renew|backup FILE|restore FILE',
  details: [
    'init     make the CA key, the host key, three logins with certificates, and the disk key',
    'list     what there is, and what is wrong with it',
    'sign     new certificates for the keys that the logins have',
    'renew    new keys for the logins, and certificates',
    'backup   one encrypted file of all keys and knox.yaml, that openssl and tar open anywhere, and a page for printing',
    'restore  the keys and knox.yaml back from that file; nothing that is there is replaced, and it can be repeated',
    '',
    'The box trusts the CA key: after sign or renew nothing changes there, and the certificates before still open it;',
    'docs/keys.md says how to shut out a login that was stolen.',
  ].join('\n'),
  options: {
    'passphrase-file': { type: 'string', value: 'FILE', help: 'passphrase of the keys, first line' },
    force: {
      type: 'boolean',
      help: 'init: move keys that exist to a sub-folder and make new ones; backup: replace the files',
    },
    to: {
      type: 'string',
      value: 'DIR',
      help: 'restore: the key folder (default: as knox.yaml in the file says)',
    },
    login: { type: 'string', value: 'LOGIN', help: `sign, renew: only ${LOGINS.join(' | ')}` },
    validity: { type: 'string', value: 'DAYS', help: 'sign, renew: such as 365d (default: forever)' },
    'source-address': {
      type: 'string',
      value: 'LIST',
      help: 'sign, renew: networks to log in from, or any (default: as before)',
    },
  },
  run: (knox) => {
    const [word = '', ...more] = knox.positionals
    const run = Object.hasOwn(SUBCOMMANDS, word) ? SUBCOMMANDS[word] : undefined
    if (run !== undefined && more.length === 0) return run(knox, [])
    const runWithWords = Object.hasOwn(WITH_WORDS, word) ? WITH_WORDS[word] : undefined
    if (runWithWords !== undefined) return runWithWords(knox, more)
    const all = Object.keys({ ...SUBCOMMANDS, ...WITH_WORDS })
    throw new KnoxError('usage', `knox keys takes one of ${all.join(', ')}`, ['see: knox keys --help'])
  },
})
