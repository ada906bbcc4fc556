/** What grammars are made of: bytes, one behind another, one of several, again and again, and rules by name. */
import { UsageError } from '../../core/errors.ts'

export type Expr =
  /** One byte of some ranges. */
  | { readonly op: 'bytes'; readonly ranges: readonly (readonly [number, number])[] }
  | { readonly op: 'seq'; readonly items: readonly Expr[] }
  | { readonly op: 'any'; readonly items: readonly Expr[] }
  /** `max` may be infinite. */
  | { readonly op: 'repeat'; readonly item: Expr; readonly min: number; readonly max: number }
  | { readonly op: 'rule'; readonly name: string }
export type Rules = ReadonlyMap<string, Expr>

export const wrong = (what: string, fix: string): UsageError => new UsageError({ code: 'constraint', what, fix })

export const seq = (...items: readonly Expr[]): Expr => (items.length === 1 ? items[0] as Expr : { op: 'seq', items })
export const any = (...items: readonly Expr[]): Expr => (items.length === 1 ? items[0] as Expr : { op: 'any', items })
export const repeat = (item: Expr, min: number, max: number): Expr => ({ op: 'repeat', item, min, max })
export const maybe = (item: Expr): Expr => repeat(item, 0, 1)
export const rule = (name: string): Expr => ({ op: 'rule', name })
export const nothing: Expr = seq()

const utf8 = new TextEncoder()
const byte = (b: number): Expr => ({ op: 'bytes', ranges: [[b, b]] })
/** A text as it is. */
export const literal = (text: string): Expr => run(utf8.encode(text))
const run = (bytes: Uint8Array): Expr => ({ op: 'seq', items: Array.from(bytes, byte) })

/** One of some texts, those that begin alike read together: of ten thousand no more is open at once than what comes next. */
export function oneOf(texts: readonly string[]): Expr {
  const all = [...new Set(texts)].map(text => utf8.encode(text)).sort((a, b) => Buffer.compare(a, b))
  const build = (from: number, to: number, depth: number, level: number): Expr => {
    if (to - from === 1) return run((all[from] as Uint8Array).subarray(depth))
    // Texts that begin with each other in a long row lie no deeper than a stack allows.
    if (level > 200) return any(...all.slice(from, to).map(text => run(text.subarray(depth))))
    const branches: Expr[] = []
    let i = from
    if ((all[i] as Uint8Array).length === depth) {
      branches.push(nothing)
      i++
    }
    while (i < to) {
      const first = (all[i] as Uint8Array)[depth] as number
      let j = i
      while (j < to && (all[j] as Uint8Array)[depth] === first) j++
      // As far as they all go on alike.
      let alike = depth + 1
      const [low, high] = [all[i] as Uint8Array, all[j - 1] as Uint8Array]
      while (alike < low.length && alike < high.length && low[alike] === high[alike]) alike++
      branches.push(seq(run(low.subarray(depth, alike)), build(i, j, alike, level + 1)))
      i = j
    }
    return any(...branches)
  }
  return all.length === 0 ? any() : build(0, all.length, 0, 0)
}

export type Range = readonly [number, number]
/** Up to where code points take so many bytes. */
const ends = [0x7f, 0x7ff, 0xffff, 0x10ffff]

/** Bytes of code points of a range that all take as many: each byte of a range of its own, as far as the ranges allow. */
function sequences(low: readonly number[], high: readonly number[]): Expr[] {
  const [a = 0, b = 0] = [low[0], high[0]]
  if (low.length === 1) return [{ op: 'bytes', ranges: [[a, b]] }]
  const [restLow, restHigh] = [low.slice(1), high.slice(1)]
  const [least, most] = [restLow.map(() => 0x80), restHigh.map(() => 0xbf)]
  const join = (first: Range, from: readonly number[], to: readonly number[]): Expr[] => sequences(from, to).map(rest => seq({ op: 'bytes', ranges: [first] }, ...(rest.op === 'seq' ? rest.items : [rest])))
  if (a === b) return join([a, a], restLow, restHigh)
  const lowWhole = restLow.every(x => x === 0x80)
  const highWhole = restHigh.every(x => x === 0xbf)
  const [from, to] = [lowWhole ? a : a + 1, highWhole ? b : b - 1]
  return [...lowWhole ? [] : join([a, a], restLow, most), ...from <= to ? join([from, to], least, most) : [], ...highWhole ? [] : join([b, b], least, restHigh)]
}

const encoded = (point: number): number[] => (point < 0x80 ? [point] : point < 0x800 ? [0xc0 | point >> 6, 0x80 | point & 0x3f]
  : point < 0x10000 ? [0xe0 | point >> 12, 0x80 | point >> 6 & 0x3f, 0x80 | point & 0x3f] : [0xf0 | point >> 18, 0x80 | point >> 12 & 0x3f, 0x80 | point >> 6 & 0x3f, 0x80 | point & 0x3f])

/** One character of some ranges of code points, as UTF-8. Halves of surrogate pairs are none. */
export function characters(ranges: readonly Range[]): Expr {
  const whole = ranges.flatMap(([low, high]): Range[] => [[low, Math.min(high, 0xd7ff)], [Math.max(low, 0xe000), high]]).filter(([low, high]) => low <= high)
  const parts = whole.flatMap(([low, high]) => ends.map((end, i): Range => [Math.max(low, i === 0 ? 0 : (ends[i - 1] as number) + 1), Math.min(high, end)]).filter(([a, b]) => a <= b))
  const single = parts.filter(([, b]) => b <= 0x7f)
  const wide = parts.filter(([, b]) => b > 0x7f).flatMap(([a, b]) => sequences(encoded(a), encoded(b)))
  return any(...single.length === 0 ? [] : [{ op: 'bytes' as const, ranges: single }], ...wide)
}

/** Ranges of code points that are in none of some others. */
export function without(ranges: readonly Range[], left: readonly Range[]): Range[] {
  return left.reduce<Range[]>((kept, [low, high]) => kept.flatMap(([a, b]): Range[] => (b < low || a > high ? [[a, b]] : [...a < low ? [[a, low - 1] as const] : [], ...b > high ? [[high + 1, b] as const] : []])), [...ranges])
}
export const everyCharacter: readonly Range[] = [[0, 0x10ffff]]
