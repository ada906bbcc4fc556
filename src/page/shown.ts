/** Numbers and tokens as they are written on the page. */

const significant = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const share = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1, minimumFractionDigits: 1 })

export const count = (n: number): string => whole.format(n)
/** As many digits at any time, as it changes all the time. */
export const rate = (x: number): string => (x === 0 || x >= 100 ? whole : tenths).format(x)
export const percent = (x: number): string => share.format(x)
export const wholePercent = (x: number): string => `${whole.format(100 * x)}%`
export const duration = (seconds: number): string => (seconds < 1 ? `${significant.format(1000 * seconds)} ms` : seconds < 100 ? `${significant.format(seconds)} s` : `${whole.format(seconds)} s`)
export const plural = (n: number, one: string): string => `${count(n)} ${one}${n === 1 ? '' : 's'}`

/** What cannot be seen of a token is spelt. */
export const visible = (token: string): string => (token === '' ? '∅' : token.replaceAll('\n', '↵').replaceAll('\t', '⇥').replaceAll('\r', '␍').replaceAll(' ', '␣'))

const units = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'] as const
/** As the command line writes them: thousands, not 1024. */
export function bytes(n: number): string {
  const power = n < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3))
  return `${significant.format(n / 1000 ** power)} ${units[power]}`
}
