/** Numbers between bounds, as grammars of their digits. */
import { any, literal, maybe, nothing, repeat, seq, wrong, type Expr } from './expr.ts'
import { fraction, integer, number } from './json.ts'

const digits = (from: number, to: number): Expr => ({ op: 'bytes', ranges: [[48 + from, 48 + to]] })
const digitAt = (text: string): number => Number(text[0])
const anyDigits = (count: number, most = count): Expr => repeat(digits(0, 9), count, most)

const atLeast = (text: string): Expr => (text === '' ? nothing : any(seq(digits(digitAt(text), digitAt(text)), atLeast(text.slice(1))), ...digitAt(text) < 9 ? [seq(digits(digitAt(text) + 1, 9), anyDigits(text.length - 1))] : []))
const atMost = (text: string): Expr => (text === '' ? nothing : any(seq(digits(digitAt(text), digitAt(text)), atMost(text.slice(1))), ...digitAt(text) > 0 ? [seq(digits(0, digitAt(text) - 1), anyDigits(text.length - 1))] : []))
/** Of as many digits. */
function between(low: string, high: string): Expr {
  if (low === '') return nothing
  const [a, b] = [digitAt(low), digitAt(high)]
  const [restLow, restHigh] = [low.slice(1), high.slice(1)]
  if (a === b) return seq(digits(a, a), between(restLow, restHigh))
  return any(seq(digits(a, a), atLeast(restLow)), ...b - a > 1 ? [seq(digits(a + 1, b - 1), anyDigits(restLow.length))] : [], seq(digits(b, b), atMost(restHigh)))
}

/** Whole numbers from `low` on, at least 0, up to `high`, which is undefined where there is no bound. */
function counted(low: bigint, high: bigint | undefined): Expr[] {
  const found: Expr[] = []
  const most = high === undefined ? String(low).length : String(high).length
  for (let length = String(low).length; length <= most; length++) {
    const least = length === 1 ? 0n : 10n ** BigInt(length - 1)
    const largest = 10n ** BigInt(length) - 1n
    const [from, to] = [low > least ? low : least, high !== undefined && high < largest ? high : largest]
    if (from <= to) found.push(between(String(from), String(to)))
  }
  if (high === undefined) found.push(seq(digits(1, 9), anyDigits(most, Infinity)))
  return found
}

/** Whole numbers between bounds, of which either may be missing. */
export function integersBetween(low: bigint | undefined, high: bigint | undefined): Expr {
  if (low === undefined && high === undefined) return integer
  if (low !== undefined && high !== undefined && low > high) throw wrong(`no whole number lies from ${low} to ${high}`, 'give a range that holds one')
  const [up, down] = [low === undefined || low < 0n ? 0n : low, high === undefined || high > -1n ? 1n : -high]
  return any(
    ...high === undefined || high >= 0n ? counted(up, high) : [],
    ...low === undefined || low < 0n ? [seq(literal('-'), any(...counted(down, low === undefined ? undefined : -low)))] : [],
  )
}

export interface Bounds { readonly low?: { readonly at: number; readonly open: boolean } | undefined; readonly high?: { readonly at: number; readonly open: boolean } | undefined }

const wholeAbove = ({ at, open }: { readonly at: number; readonly open: boolean }): bigint => BigInt(open ? Math.floor(at) + 1 : Math.ceil(at))
const wholeBelow = ({ at, open }: { readonly at: number; readonly open: boolean }): bigint => BigInt(open ? Math.ceil(at) - 1 : Math.floor(at))
export const integersIn = ({ low, high }: Bounds): Expr => integersBetween(low === undefined ? undefined : wholeAbove(low), high === undefined ? undefined : wholeBelow(high))

/**
 * Numbers between bounds: whole ones, and between two whole ones of the range anything. What lies between a bound and the next whole number is left out. With at most so many digits
 * behind the point.
 */
export function numbersIn(bounds: Bounds, places: number = Infinity): Expr {
  const tail: Expr = places === Infinity ? fraction : places === 0 ? nothing : seq(literal('.'), repeat(digits(0, 9), 1, places))
  const { low, high } = bounds
  if (low === undefined && high === undefined) return places === Infinity ? number : seq(integer, maybe(tail))
  const [from, to] = [low === undefined ? undefined : wholeAbove(low), high === undefined ? undefined : wholeBelow(high)]
  if (from !== undefined && to !== undefined && from > to) throw wrong('the numbers of a range have no whole one among them, and digits behind the point are not bounded', 'give a wider range')
  const found: Expr[] = [integersBetween(from, to)]
  if (places > 0) {
    // n.5 is above n, and −n.5 below −n: the whole part may be one less far.
    const [mostUp, mostDown] = [to === undefined ? undefined : to - 1n, from === undefined ? undefined : from + 1n]
    const up = from === undefined || from < 0n ? 0n : from
    const down = to === undefined || to > 0n ? 0n : to
    if (mostUp === undefined || mostUp >= up) found.push(seq(any(...counted(up, mostUp)), tail))
    if (mostDown === undefined || mostDown <= down) found.push(seq(literal('-'), any(...counted(-down, mostDown === undefined ? undefined : -mostDown)), tail))
  }
  return any(...found)
}

/** Whole multiples of a number: the remainder of the digits so far is which rule follows. @returns the expression, with the rules that it needs */
export function multiplesOf(of: number): { readonly expr: Expr; readonly rules: ReadonlyMap<string, Expr> } {
  const rules = new Map<string, Expr>()
  const name = (rest: number): string => `multiple ${of} ${rest}`
  for (let rest = 0; rest < of; rest++) {
    const next = Array.from({ length: 10 }, (_, d) => seq(digits(d, d), { op: 'rule' as const, name: name((rest * 10 + d) % of) }))
    rules.set(name(rest), any(...next, ...rest === 0 ? [nothing] : []))
  }
  const first = Array.from({ length: 9 }, (_, i) => seq(digits(i + 1, i + 1), { op: 'rule' as const, name: name((i + 1) % of) }))
  return { expr: seq(maybe(literal('-')), any(literal('0'), ...first)), rules }
}
