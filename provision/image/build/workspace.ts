import { KnoxError } from '../../core/errors.ts'

/** The folder on the build host in which the image is built, and what stands where in it. */
export interface Workspace {
  readonly folder: string
  readonly src: string
  readonly crochet: string
  readonly configFile: string
  /** crochet's WORKDIR: objects, logs, mount points */
  readonly workdir: string
  /** as crochet leaves it; never customised itself */
  readonly raw: string
  /** the copy that becomes the box's */
  readonly image: string
  readonly log: string
  readonly pid: string
  /** what the raw image was built from */
  readonly stamp: string
}

/** Throws `usage` for a folder that crochet cannot work in: its options are split at blanks. */
export const workspaceOf = (folder: string): Workspace => {
  if (!/^\/[A-Za-z0-9._/-]+$/.test(folder) || folder.includes('/../'))
    throw new KnoxError('usage', `crochet cannot work in ${JSON.stringify(folder)}`, [
      'an absolute path of letters, digits and . _ - without blanks: --work DIR',
    ])
  const at = (name: string) => `${folder}/${name}`
  return {
    folder,
    src: at('src'),
    crochet: at('crochet'),
    configFile: at('config.sh'),
    workdir: at('work'),
    raw: at('freebsd.img'),
    image: at('knox.img'),
    log: at('build.log'),
    pid: at('crochet.pid'),
    stamp: at('built'),
  }
}
