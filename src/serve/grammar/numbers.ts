/** Numbers between bounds, as grammars of their digits. */
import { any, literal, maybe, nothing, repeat, seq, wrong, type Expr } from './expr.ts'
import { integer, number } from './json.ts'

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

interface Decimal { readonly negative: boolean; readonly whole: bigint; /** Digits behind the point, the last of them not 0. */ readonly rest: string }

/** A double as it is written, without an exponent. */
function decimal(x: number): Decimal {
  const [mantissa = '', exponent = '0'] = String(Math.abs(x)).split('e')
  const [before = '', behind = ''] = mantissa.split('.')
  const by = Number(exponent)
  const digits = by < 0 ? `${'0'.repeat(-by)}${before}${behind}` : `${before}${behind}`.padEnd(before.length + by, '0')
  const point = by < 0 ? before.length : before.length + by
  return { negative: x < 0, whole: BigInt(digits.slice(0, point)), rest: digits.slice(point).replace(/0+$/, '') }
}

interface End { readonly whole: bigint; readonly rest: string; readonly open: boolean }
const zeros: Expr = repeat(digits(0, 0), 0, Infinity)

/** Digits behind a point: so many at most, of which one at least is not 0 where `some` says so. */
const anyRest = (left: number): Expr => repeat(digits(0, 9), 0, left)
function someRest(left: number): Expr {
  if (left === Infinity) return seq(zeros, digits(1, 9), anyRest(Infinity))
  return left <= 0 ? any() : any(seq(digits(1, 9), anyRest(left - 1)), ...left > 1 ? [seq(digits(0, 0), someRest(left - 1))] : [])
}
/** Digits that say as much as `rest` does, or more. At least one of them, as behind a point. */
function restFrom(rest: string, open: boolean, left: number): Expr {
  if (left <= 0) return any()
  if (rest === '') return open ? someRest(left) : repeat(digits(0, 9), 1, left)
  const d = digitAt(rest)
  const same = rest.length > 1 ? restFrom(rest.slice(1), open, left - 1) : open ? someRest(left - 1) : anyRest(left - 1)
  return any(seq(digits(d, d), same), ...d < 9 ? [seq(digits(d + 1, 9), anyRest(left - 1))] : [])
}
/** Digits that say no more than `rest` does. */
function restTo(rest: string, open: boolean, left: number): Expr {
  if (left <= 0) return any()
  if (rest === '') return open ? any() : repeat(digits(0, 0), 1, left)
  const d = digitAt(rest)
  // Where more would have to come, none at all is less.
  const same = rest.length > 1 ? maybe(restTo(rest.slice(1), open, left - 1)) : open ? any() : repeat(digits(0, 0), 0, left - 1)
  return any(seq(digits(d, d), same), ...d > 0 ? [seq(digits(0, d - 1), anyRest(left - 1))] : [])
}
function restBetween(low: End, high: End, left: number): Expr {
  if (left <= 0) return any()
  if (low.rest === '') return low.open ? restAbove(high, left) : restTo(high.rest, high.open, left)
  const [a, b] = [digitAt(low.rest), high.rest === '' ? -1 : digitAt(high.rest)]
  if (a > b) return any()
  const [lower, higher] = [{ ...low, rest: low.rest.slice(1) }, { ...high, rest: high.rest.slice(1) }]
  // What ends here is as much as what goes on with zeros.
  const ends = (rest: Expr, may: boolean): Expr => (may ? maybe(rest) : rest)
  if (a === b) return seq(digits(a, a), ends(restBetween(lower, higher, left - 1), lower.rest === '' && !low.open && !(higher.rest === '' && high.open)))
  return any(
    seq(digits(a, a), ends(restFrom(lower.rest, low.open, left - 1), lower.rest === '' && !low.open)), ...b - a > 1 ? [seq(digits(a + 1, b - 1), anyRest(left - 1))] : [],
    seq(digits(b, b), ends(restTo(higher.rest, high.open, left - 1), !(higher.rest === '' && high.open))),
  )
}
/** Above 0, and no more than an end. */
function restAbove(high: End, left: number): Expr {
  if (left <= 0 || high.rest === '') return any()
  const b = digitAt(high.rest)
  const higher = { ...high, rest: high.rest.slice(1) }
  if (b === 0) return seq(digits(0, 0), restAbove(higher, left - 1))
  return any(
    seq(digits(0, 0), someRest(left - 1)), ...b > 1 ? [seq(digits(1, b - 1), anyRest(left - 1))] : [],
    seq(digits(b, b), higher.rest === '' && high.open ? any() : maybe(restTo(higher.rest, high.open, left - 1))),
  )
}

const point = literal('.')
/** Numbers from 0 on between two ends, the higher of which may be missing; without a sign. */
function decimals(low: End, high: End | undefined, places: number): Expr[] {
  const one = (whole: bigint): Expr => literal(String(whole))
  const dotted = (rest: Expr): Expr => seq(point, rest)
  if (high !== undefined && (low.whole > high.whole || (low.whole === high.whole && low.rest.padEnd(high.rest.length, '0') > high.rest.padEnd(low.rest.length, '0')))) return []
  const same = high !== undefined && high.whole === low.whole
  const found: Expr[] = []
  const [withLow, withHigh] = [low.rest === '' && !low.open, high !== undefined && !(high.rest === '' && high.open)]
  if (same) {
    if (withLow && withHigh) found.push(one(low.whole))
    found.push(seq(one(low.whole), dotted(restBetween(low, high, places))))
    return found
  }
  if (withLow) found.push(one(low.whole))
  found.push(seq(one(low.whole), dotted(restFrom(low.rest, low.open, places))))
  const between = counted(low.whole + 1n, high === undefined ? undefined : high.whole - 1n)
  if (high === undefined || high.whole - 1n > low.whole) found.push(seq(any(...between), maybe(dotted(repeat(digits(0, 9), 1, places)))))
  if (high !== undefined) {
    if (withHigh) found.push(one(high.whole))
    found.push(seq(one(high.whole), dotted(restTo(high.rest, high.open, places))))
  }
  return found
}

/** Numbers between bounds, with at most so many digits behind the point. What says 0 has no sign, and no number that is bounded has an exponent. */
export function numbersIn({ low, high }: Bounds, places: number = Infinity): Expr {
  if (low === undefined && high === undefined) return places === Infinity ? number : seq(integer, maybe(seq(point, repeat(digits(0, 9), 1, places))))
  const zero: End = { whole: 0n, rest: '', open: false }
  const end = (b: { readonly at: number; readonly open: boolean }): End => { const { whole, rest } = decimal(b.at); return { whole, rest, open: b.open } }
  const up = high !== undefined && high.at < 0 ? [] : decimals(low === undefined || low.at < 0 ? zero : end(low), high === undefined ? undefined : end(high), places)
  const down = low !== undefined && low.at >= 0 ? [] : decimals(high === undefined || high.at >= 0 ? { ...zero, open: true } : end(high), low === undefined ? undefined : end(low), places)
  if (low !== undefined && high !== undefined && (low.at > high.at || (low.at === high.at && (low.open || high.open)))) throw wrong(`no number lies from ${low.at} to ${high.at}`, 'give a range that holds one')
  return any(...up, ...down.map(e => seq(literal('-'), e)))
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
