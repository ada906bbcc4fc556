/** Options of optimizers and schedules: checked where they are given, so that a wrong one is named and never trains. */
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { shown } from '../core/shown.ts'
import { userSite } from '../core/site.ts'

/** What an option may be, and what to say where it is something else. */
export interface Check { readonly fits: (x: unknown) => boolean; readonly fix: string }

const number = (fits: (x: number) => boolean, fix: string): Check => ({ fits: x => typeof x === 'number' && Number.isFinite(x) && fits(x), fix })
/** How much of an average is kept from one step to the next. */
export const kept: Check = number(x => x >= 0 && x < 1, 'give a number of at least 0, below 1')
export const positive: Check = number(x => x > 0, 'give a number above 0')
export const notNegative: Check = number(x => x >= 0, 'give a number of at least 0')
export const share: Check = number(x => x >= 0 && x <= 1, 'give a number from 0 to 1')
export const whole: Check = number(x => x >= 0 && Number.isInteger(x), 'give a whole number of at least 0')
export const count: Check = number(x => x >= 1 && Number.isInteger(x), 'give a whole number of at least 1')
export const truth: Check = { fits: x => typeof x === 'boolean', fix: 'give true or false' }
export const names: Check = { fits: x => Array.isArray(x) && x.every(name => typeof name === 'string'), fix: 'give a list of names' }
export const aFunction: Check = { fits: x => typeof x === 'function', fix: 'give a function of a parameter' }
export const given: Check = { fits: x => typeof x === 'object' && x !== null && !Array.isArray(x), fix: 'give an object of options' }
export const oneOf = (...all: readonly string[]): Check => ({ fits: x => typeof x === 'string' && all.includes(x), fix: `give one of ${all.map(a => `"${a}"`).join(', ')}` })
export const either = (a: Check, b: Check): Check => ({ fits: x => a.fits(x) || b.fits(x), fix: `${a.fix}, or ${b.fix.replace('give ', '')}` })

export const usage = (what: string, fix: string): UsageError => new UsageError({ code: 'option', what, fix, at: userSite() })

/** @throws UsageError where the value is none of those that the check lets pass */
export function checkValue(what: string, value: unknown, { fits, fix }: Check): void {
  if (!fits(value)) throw usage(`${what} is ${shown(value)}`, fix)
}

/**
 * Checks what was given by name. An option that is left out or `undefined` has its default, unless it is `needed`.
 * @throws UsageError for an option that there is not, one that is needed and not given, or a value that cannot be
 */
export function checkOptions<O extends object>(what: string, options: O, checks: { readonly [K in keyof O]-?: Check }, needed: readonly (keyof O & string)[] = []): void {
  if (!given.fits(options)) throw usage(`${what}: ${shown(options)} is given for the options`, given.fix)
  const known = new Map(Object.entries<Check>(checks))
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    const check = known.get(name)
    if (check === undefined) throw usage(`${what}: there is no option "${name}"`, didYouMean(name, known.keys()))
    if (value !== undefined) checkValue(`${what}: ${name}`, value, check)
  }
  for (const name of needed) if (options[name] === undefined) throw usage(`${what}: ${name} is not given`, known.get(name)?.fix ?? 'give it')
}
