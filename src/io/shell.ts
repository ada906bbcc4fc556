/** Words as a shell takes them: what a message proposes must work when it is pasted. */

/** A word of a command line. */
export const shellWord = (text: string): string => (/^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll('\'', '\'\\\'\'')}'`)
/** A path that is an argument of its own: one that begins with "-" would be taken for a flag. */
export const shellPath = (path: string): string => shellWord(path.startsWith('-') ? `./${path}` : path)
