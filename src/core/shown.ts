/** What somebody gave instead of what was asked for, in few words: a message is no place for all the numbers of an array. */

const most = 60
const listed = (keys: readonly string[]): string => (keys.length === 0 ? 'no keys' : `${keys.slice(0, 4).join(', ')}${keys.length > 4 ? ', …' : ''}`)

/** A value as an error message names it, on one line. */
export function shown(x: unknown): string {
  if (typeof x === 'string') return `"${x.length > most ? `${x.slice(0, most)}…` : x}"`
  if (typeof x === 'function') return 'a function'
  if (Array.isArray(x)) return `a list of ${x.length}`
  if (ArrayBuffer.isView(x)) return 'length' in x ? `a ${x.constructor.name} of ${String(x.length)}` : `a ${x.constructor.name}`
  if (typeof x !== 'object' || x === null) return String(x)
  return `an object with ${listed(Object.keys(x))}`
}
