import { KnoxError } from '../core/errors.ts'

/** What to do where keys are missing: new ones open no disk that there is. */
export const wayToKeys = (): readonly string[] => [
  ...(process.getuid?.() === 0
    ? [
        'are they another user’s? root looks where home.folder of knox.yaml says, such as /home/you/.config/knox/knox',
      ]
    : []),
  'were they lost? knox keys restore FILE brings them back from their copy; knox keys init makes new ones, for a new box',
]

/** The error for a folder without keys. */
export const noKeys = (folder: string): KnoxError =>
  new KnoxError('config', `there are no keys in ${folder}`, wayToKeys())
