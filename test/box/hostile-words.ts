/** Words that a hostile home may say to the box's script; hostile-inputs.ts makes lines of them. */

/** Many try to leave a mark: a file in the folder `M` where the script runs. */
// prettier-ignore
export const PAYLOADS = [
  '$(: >M/a)', '`: >M/b`', ';: >M/c', '\n: >M/d\n', '|: >M/e', '&: >M/f&', '>M/g', '2>M/h', "';: >M/i;'", '";: >M/j;"',
  '\\\n: >M/k', '${x:=$(: >M/l)}', '$((x=`: >M/m`1))', '$(touch M/n)', '`touch M/o`', '||touch M/p', '&&touch M/q',
  '\ttouch\tM/r', '$IFS', '${IFS}touch${IFS}M/s', '$*', '$@', '$#', '$0', '$$', '!!', '*', '?', '[a-z]*', '~', '~root',
  '{a,b}', '../..', '../../M/t', '/etc/passwd', '/dev/null', '%s%n', '%b', '\\0101', '-', '--', '-F', '-r', '-R', '-rf',
  '-o', '-x', '-e', '-n', '--help', '-omountpoint=M/u', '-oexec=on', '#', '@', '%', '@x', '@x@y', '#b', '%recv', 'ü', '€',
  '𝄞', '\u202e', '\u00ff', '\0', '\r', '\x1b[2J', '\x7f', '\x03', '\x04', '\x1a',
]

export const VERBS = 'unlock list receive place discard rename destroy look hash scrub health stay'.split(' ')

// prettier-ignore
export const STRANGE_VERBS = [
  'receive/3', 'list/1', '*', '[a-z]*', 'lock_disk', 'finish', 'session', 'guard', 'key', 'obey', 'fail', 'eval', 'exit',
  'LIST', ' list', 'list ', 'set', 'trap', 'cd', '.', ':', 'sh', 'zfs', 'zpool', 'rollback', 'export', '-', '/', '', '\\',
]

export const KINDS = ['full', 'incremental', 'resume', 'Full', '-F', 'full -F', '', '$(id)']

/** parts of a dataset's name that zfs takes, or almost */
export const PARTS = [
  ...'-F|-r| |: -|.x|a b|a:b|-|_|a/b c/-d'.split('|'),
  ...['x'.repeat(252), 'x'.repeat(253)],
]

/** names that are no dataset of this pool */
export const OUTSIDE = [
  ...'wd/|wd//a|wd/..|wd/../tank|wd/.|wd/a/./b|/wd|wd/a/|wdx|WD|.|/|'.split('|'),
  ...'tank|zroot/ROOT|-F|-r wd|wd wd|wd,tank|wd\ttank|da0|/dev/da0|snapshot'.split('|'),
]

export const SNAPSHOTS = [
  's1',
  's2',
  's3',
  's40',
  '-r',
  's1,s2',
  's1%s9',
  's1@s2',
  ' ',
  '',
  's1\t',
  'x'.repeat(300),
]

export const PATH_PARTS = [
  '..',
  '.',
  '',
  'cat',
  'link',
  'a b',
  '\\0056\\0056',
  '\\057',
  '\\c',
  '\\0000',
  '\\n',
  '-n',
  '\\',
]

export const NUMBERS = ['-1', '1e3', '0x10', '123456', '99999999999', '']
