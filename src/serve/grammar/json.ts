/** JSON as a grammar: its values, and texts of chosen characters. */
import { any, characters, literal, maybe, oneOf, repeat, rule, seq, without, type Expr, type Range } from './expr.ts'

const bytes = (...ranges: readonly (readonly [number, number])[]): Expr => ({ op: 'bytes', ranges })
const digit = bytes([48, 57])
const digits = repeat(digit, 0, Infinity)
const hex = bytes([48, 57], [65, 70], [97, 102])
/** A blank or none, as most JSON is written: models that may put more of it sometimes put nothing else. */
export const gap: Expr = maybe(literal(' '))

/** Characters that stand for themselves in a text. */
export const plainCharacters: readonly Range[] = without([[0x20, 0x10ffff]], [[0x22, 0x22], [0x5c, 0x5c]])
const escapes: { readonly [point: number]: string } = { 0x22: '\\"', 0x5c: '\\\\', 8: '\\b', 12: '\\f', 10: '\\n', 13: '\\r', 9: '\\t' }

/** One character of some ranges, as it is written in a text of JSON: by its escape where it must be. */
export function jsonCharacter(ranges: readonly Range[]): Expr {
  const plain = ranges.flatMap(([low, high]) => plainCharacters.map(([a, b]): Range => [Math.max(low, a), Math.min(high, b)])).filter(([a, b]) => a <= b)
  const special = [...Array.from({ length: 32 }, (_, i) => i), 0x22, 0x5c].filter(p => ranges.some(([a, b]) => p >= a && p <= b))
  return any(...plain.length === 0 ? [] : [characters(plain)], ...special.length === 0 ? [] : [oneOf(special.map(p => escapes[p] ?? `\\u${p.toString(16).padStart(4, '0')}`))])
}
/** Any character of a text, by whichever escape. Halves of surrogate pairs come in pairs. */
const escaped = any(
  bytes([0x22, 0x22], [0x5c, 0x5c], [0x2f, 0x2f], [0x62, 0x62], [0x66, 0x66], [0x6e, 0x6e], [0x72, 0x72], [0x74, 0x74]),
  seq(literal('u'), any(seq(bytes([48, 57], [65, 67], [69, 70], [97, 99], [101, 102]), hex, hex, hex), seq(bytes([0x44, 0x44], [0x64, 0x64]), any(
    seq(bytes([48, 55]), hex, hex), seq(bytes([56, 57], [65, 66], [97, 98]), hex, hex, literal('\\u'), bytes([0x44, 0x44], [0x64, 0x64]), bytes([67, 70], [99, 102]), hex, hex),
  )))),
)
const anyCharacter: Expr = any(characters(plainCharacters), seq(literal('\\'), escaped))

/** A text of so many characters. */
export const text = (min = 0, max: number = Infinity): Expr => seq(literal('"'), repeat(rule('character'), min, max), literal('"'))
export const integer: Expr = seq(maybe(literal('-')), any(literal('0'), seq(bytes([49, 57]), digits)))
const fraction: Expr = seq(literal('.'), repeat(digit, 1, Infinity))
const exponent = seq(bytes([0x45, 0x45], [0x65, 0x65]), maybe(bytes([0x2b, 0x2b], [0x2d, 0x2d])), repeat(digit, 1, Infinity))
export const number: Expr = seq(integer, maybe(fraction), maybe(exponent))

/** Things with commas between them, within brackets. */
export const listed = (open: string, item: Expr, close: string): Expr =>
  seq(literal(open), gap, maybe(seq(item, repeat(seq(gap, literal(','), gap, item), 0, Infinity), gap)), literal(close))
export const member = (key: Expr, value: Expr): Expr => seq(key, gap, literal(':'), gap, value)

/** The rules that all of JSON is made of. */
export const jsonRules: ReadonlyMap<string, Expr> = new Map<string, Expr>([
  ['character', anyCharacter], ['string', text()], ['number', number], ['integer', integer], ['object', listed('{', member(rule('string'), rule('value')), '}')], ['array', listed('[', rule('value'), ']')],
  ['value', any(rule('object'), rule('array'), rule('string'), rule('number'), literal('true'), literal('false'), literal('null'))],
])
