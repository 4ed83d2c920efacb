/** The person in front of knox, or the flags that answer in their place. */

export interface Question {
  readonly question: string
  /** the flag, without its dashes, that answers where nobody is at a terminal */
  readonly flag: string
  /** what Enter alone means, at a terminal or without one */
  readonly initial?: string
  /** what is wrong with an answer; undefined if nothing is */
  readonly problem?: (answer: string) => string | undefined
}

export interface Choice extends Omit<Question, 'problem'> {
  readonly choices: readonly { readonly value: string; readonly label: string }[]
}

/** What was said on the command line. */
export interface Said {
  readonly flag: (name: string) => boolean
  readonly text: (name: string) => string | undefined
}

export interface Owner {
  readonly args: Said
  /** a line of text; throws `usage` for a flag that holds a wrong one, `refused` where nobody can be asked */
  readonly ask: (question: Question) => Promise<string>
  /** one of several words; throws as `ask` */
  readonly choose: (choice: Choice) => Promise<string>
  /** runs another verb as if it had been typed, with the common flags of this one; throws what it throws */
  readonly run: (words: readonly string[]) => Promise<void>
}
