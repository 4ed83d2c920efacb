import { KnoxError } from '../../core/errors.ts'
import { runnerAt, type Place } from '../../system/runner.ts'
import { readBoxKeys } from '../box-keys.ts'
import { customiseImage, type CustomiseOptions } from '../customise.ts'
import type { FromImage, Ready } from '../from-image.ts'
import { hashImage } from '../source.ts'
import { hashThere, sendThere } from './builder.ts'

/** A ready image on the way to the build host. */

/** Sends the image to the build host, compares what arrived, and customises that. `image` is its path there. */
export const customiseThere = async (
  options: CustomiseOptions & { readonly place: Place },
  { source, input }: Ready,
): Promise<FromImage> => {
  const { image, folder, place, emit, signal } = options
  await readBoxKeys(folder)
  await sendThere(place, { from: source.path, isPacked: source.isPacked }, image, emit)
  if ((await runnerAt(place, emit, 3600).read(hashThere(image))) !== (await hashImage(source, signal)))
    throw new KnoxError('verification', `the image arrived at ${place.name} as another one`, ['run it again'])
  return { customised: await customiseImage(options), input, bytes: source.bytes }
}
