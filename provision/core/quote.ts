// not with = first: csh takes =1 for its directory stack
const SAFE = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/

/**
 * One word for a POSIX shell: bare if it is plainly safe, else in single quotes. Outside of them stand the quote itself and `!`,
 * which csh (FreeBSD root's shell before 14) takes for its history even there. Without a newline the result means the same to both.
 */
export const quote = (word: string): string =>
  SAFE.test(word) ? word : `'${word.replace(/['!]/g, String.raw`'\$&'`)}'`

/** A command line for a POSIX shell, also the form in which commands are printed. */
export const quoteAll = (argv: readonly string[]): string => argv.map(quote).join(' ')

/** As many of printf(1)'s %b as it takes: one word in which no shell finds anything of its own. */
const octal = (text: string): string =>
  Array.from(Buffer.from(text), (byte) =>
    /[A-Za-z0-9 ./_:=,+@-]/.test(String.fromCharCode(byte))
      ? String.fromCharCode(byte)
      : `\\0${byte.toString(8).padStart(3, '0')}`,
  ).join('')

/**
 * A command line for the login shell of another machine, csh or any other. csh has no way to say a newline within a word, so that
 * a command which holds one is unpacked there by sh.
 */
export const quoteForLogin = (argv: readonly string[]): string => {
  const line = quoteAll(argv)
  return line.includes('\n') ? `/bin/sh -c 'eval "$(printf %b "${octal(line)}")"'` : line
}
