import { KnoxError } from '../core/errors.ts'
import { parseAddress } from '../core/names.ts'
import { isBox } from '../runtime/discover.ts'
import { notTheBox } from '../runtime/knock.ts'
import { prepareBox } from '../runtime/target.ts'
import { findConfig, newConfigPath } from '../system/config-file.ts'
import { editConfig, putAddressFirst } from '../system/edit-config.ts'
import { configNow, type World } from './step.ts'

/** An address of the box gets into knox.yaml once the box has proved itself there. */

/** What is wrong with an address, for a question; undefined if nothing is. */
export const problemOfAddress = (text: string): string | undefined =>
  parseAddress(text) === undefined
    ? 'is not an address: expected host, host:port, [ipv6]:port or an .onion'
    : undefined

/** Puts it first into knox.yaml, where it may stand already. */
export const writeAddress = async (world: World, address: string): Promise<void> => {
  const path = (await findConfig(world.configPath)) ?? newConfigPath(world.configPath)
  await editConfig(path, putAddressFirst(address))
}

/** True if the box proves itself there; false for what is no address. */
export const isBoxAt = async (world: World, text: string): Promise<boolean> => {
  const address = parseAddress(text)
  return address !== undefined && (await isBox(await prepareBox(await configNow(world)), address))
}

/** Writes it into knox.yaml. Throws if somebody else answers there, or nobody, and changes nothing then. */
export const proveAndWrite = async (world: World, text: string): Promise<void> => {
  const address = parseAddress(text)
  if (address === undefined) throw new KnoxError('usage', `${JSON.stringify(text)} is not an address`)
  if (!(await isBoxAt(world, text))) throw await notTheBox(await prepareBox(await configNow(world)), address)
  await writeAddress(world, text)
}
