// not with = first: csh takes =1 for its directory stack
const SAFE = /^[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*$/

/**
 * One word for a POSIX shell: bare if it is plainly safe, else in single quotes.
 * The result means the same to sh and, for words without `!` and newline, to csh (FreeBSD root's shell before 14).
 */
export const quote = (word: string): string =>
  SAFE.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`

/** A command line for a POSIX shell, also the form in which commands are printed. */
export const quoteAll = (argv: readonly string[]): string => argv.map(quote).join(' ')
