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
