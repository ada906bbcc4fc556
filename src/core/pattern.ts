/** Patterns of names: `*` stands for any characters, all else for itself. */
const quoted = (text: string): string => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&')
const body = (pattern: string): string => pattern.split('*').map(quoted).join('.*')

/** Whole names. */
export const wholePattern = (pattern: string): RegExp => new RegExp(`^${body(pattern)}$`, 's')
/** Paths that end so, from a "." on. */
export const endPattern = (pattern: string): RegExp => new RegExp(`(^|\\.)${body(pattern)}$`, 's')
