/** Regular expressions as grammars: those of ECMAScript that are regular, matched as a whole. Nothing is ever run by a backtracking engine. */
import { any, characters, everyCharacter, nothing, repeat, seq, without, wrong, type Expr, type Range } from './expr.ts'

/** What a regular expression is made of, over characters: how these become bytes is for whoever uses it. */
export type Pattern =
  | { readonly op: 'set'; readonly ranges: readonly Range[] }
  | { readonly op: 'seq' | 'any'; readonly items: readonly Pattern[] }
  | { readonly op: 'repeat'; readonly item: Pattern; readonly min: number; readonly max: number }
  | { readonly op: 'begin' | 'end' }

const digit: Range[] = [[48, 57]]
const word: Range[] = [[48, 57], [65, 90], [95, 95], [97, 122]]
const space: Range[] = [[9, 13], [32, 32], [0xa0, 0xa0], [0x1680, 0x1680], [0x2000, 0x200a], [0x2028, 0x2029], [0x202f, 0x202f], [0x205f, 0x205f], [0x3000, 0x3000], [0xfeff, 0xfeff]]
const classes: { readonly [letter: string]: readonly Range[] } = { d: digit, w: word, s: space, D: without(everyCharacter, digit), W: without(everyCharacter, word), S: without(everyCharacter, space) }
const escapes: { readonly [letter: string]: number } = { n: 10, r: 13, t: 9, f: 12, v: 11, 0: 0, b: 8 }
const mostRepeats = 100_000
const deepest = 100

export function parseRegex(source: string): Pattern {
  const points = Array.from(source)
  let at = 0
  let depth = 0
  const fail = (what: string, fix = 'give a regular expression of ECMAScript'): Error => wrong(`the pattern /${source.length > 80 ? `${source.slice(0, 80)}…` : source}/: ${what}`, fix)
  const point = (c: string): number => c.codePointAt(0) as number

  function choice(): Pattern {
    if (++depth > deepest) throw fail(`groups lie in each other more than ${deepest} deep`, 'nest less')
    const items = [sequence()]
    while (points[at] === '|') {
      at++
      items.push(sequence())
    }
    depth--
    return items.length === 1 ? items[0] as Pattern : { op: 'any', items }
  }
  function sequence(): Pattern {
    const items: Pattern[] = []
    while (at < points.length && points[at] !== '|' && points[at] !== ')') items.push(repeated(atom()))
    return { op: 'seq', items }
  }
  function repeated(item: Pattern): Pattern {
    for (;;) {
      const c = points[at]
      let [min, max] = [1, 1]
      if (c === '*') [min, max] = [0, Infinity]
      else if (c === '+') [min, max] = [1, Infinity]
      else if (c === '?') [min, max] = [0, 1]
      else {
        const found = c === '{' ? /^\{(\d+)(,(\d*))?\}/.exec(points.slice(at, at + 24).join('')) : null
        if (found === null) return item
        const [whole, least = '', comma, most = ''] = found
        min = Number(least)
        max = comma === undefined ? min : most === '' ? Infinity : Number(most)
        at += whole.length - 1
        if (max < min || min > mostRepeats || (max !== Infinity && max > mostRepeats)) throw fail(`${whole} is no number of times`, `repeat at most ${mostRepeats} times, the smaller number first`)
      }
      at++
      // Which match is found first does not matter to what matches.
      if (points[at] === '?') at++
      if (item.op === 'begin' || item.op === 'end') throw fail('an anchor is repeated', 'leave the anchor alone')
      item = { op: 'repeat', item, min, max }
    }
  }
  function atom(): Pattern {
    const c = points[at++] as string
    if (c === '(') {
      if (points[at] === '?') {
        const kind = points.slice(at + 1, at + 3).join('')
        if (kind.startsWith(':')) at += 2
        else if (/^<[^=!]/.test(kind) && points.indexOf('>', at) > 0) at = points.indexOf('>', at) + 1
        else throw fail('what looks around is not regular', 'say what matches without (?=…), (?!…), (?<=…) or (?<!…)')
      }
      const inner = choice()
      if (points[at++] !== ')') throw fail('a group is not closed')
      return inner
    }
    if (c === '[') return { op: 'set', ranges: set() }
    if (c === '.') return { op: 'set', ranges: without(everyCharacter, [[10, 10], [13, 13], [0x2028, 0x2029]]) }
    if (c === '^') return { op: 'begin' }
    if (c === '$') return { op: 'end' }
    if (c === '\\') return { op: 'set', ranges: escaped(false) }
    if (c === '*' || c === '+' || c === '?') throw fail(`there is nothing to repeat before ${c}`)
    return { op: 'set', ranges: [[point(c), point(c)]] }
  }
  function escaped(inSet: boolean): readonly Range[] {
    const c = points[at++]
    if (c === undefined) throw fail('it ends with a backslash')
    const of = (p: number): Range[] => [[p, p]]
    if (c in classes) return classes[c] as readonly Range[]
    if (c === 'x' || c === 'u') {
      const rest = points.slice(at, at + 10).join('')
      const hex = c === 'x' ? /^([0-9a-fA-F]{2})/.exec(rest) : /^(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))/.exec(rest)
      if (hex === null) throw fail(`\\${c} wants digits`)
      at += hex[0].length
      const p = parseInt(hex[1] ?? hex[2] ?? '', 16)
      if (p > 0x10ffff) throw fail('there is no such character')
      return of(p)
    }
    if (c === 'c') return of(point(points[at++] ?? '@') & 31)
    if (c in escapes && (c !== 'b' || inSet)) return of(escapes[c] as number)
    if (c === 'b' || c === 'B') throw fail('boundaries of words are not supported', 'say what stands on both sides')
    if (/[1-9k]/.test(c)) throw fail('what refers back is not regular', 'say what matches without back references')
    if (c === 'p' || c === 'P') throw fail('properties of characters are not supported', 'give ranges of characters')
    if (/[a-zA-Z]/.test(c)) throw fail(`\\${c} is no escape`)
    return of(point(c))
  }
  function set(): readonly Range[] {
    const negated = points[at] === '^'
    if (negated) at++
    const ranges: Range[] = []
    for (;;) {
      const c = points[at++]
      if (c === undefined) throw fail('a class is not closed')
      if (c === ']') break
      const from = c === '\\' ? escaped(true) : [[point(c), point(c)] as const]
      if (points[at] === '-' && points[at + 1] !== ']' && points[at + 1] !== undefined && from.length === 1) {
        at++
        const d = points[at++] as string
        const to = d === '\\' ? escaped(true) : [[point(d), point(d)] as const]
        const [low, high] = [from[0]?.[0] ?? 0, to[0]?.[1] ?? 0]
        if (to.length !== 1 || high < low) throw fail('a range of a class runs backwards', 'give the lower character first')
        ranges.push([low, high])
      } else ranges.push(...from)
    }
    return negated ? without(everyCharacter, ranges) : ranges
  }
  const found = choice()
  if (at < points.length) throw fail('a group is closed that was not opened')
  return found
}

/** A pattern as a grammar. @param one how a character of some ranges is written @throws UsageError for anchors that do not stand at the ends */
export function patternExpr(pattern: Pattern, one: (ranges: readonly Range[]) => Expr): Expr {
  if (pattern.op === 'set') return pattern.ranges.length === 0 ? any() : one(pattern.ranges)
  if (pattern.op === 'seq') return seq(...pattern.items.map(item => patternExpr(item, one)))
  if (pattern.op === 'any') return any(...pattern.items.map(item => patternExpr(item, one)))
  if (pattern.op === 'repeat') return repeat(patternExpr(pattern.item, one), pattern.min, pattern.max)
  throw wrong(`a pattern has ${pattern.op === 'begin' ? '^' : '$'} in its middle`, 'anchor it at its ends')
}

/** What a search finds: anything may stand before and behind, where no anchor says otherwise. The alternatives of a pattern each have anchors of their own. */
export function searched(pattern: Pattern, one: (ranges: readonly Range[]) => Expr): Expr {
  const anything = repeat(one(everyCharacter), 0, Infinity)
  const branches = pattern.op === 'any' ? pattern.items : [pattern]
  return any(...branches.map(branch => {
    const items = branch.op === 'seq' ? branch.items : [branch]
    const [begins, ends] = [items[0]?.op === 'begin', items.at(-1)?.op === 'end']
    const inner = items.slice(begins ? 1 : 0, ends ? -1 : undefined)
    return seq(begins ? nothing : anything, patternExpr({ op: 'seq', items: inner }, one), ends ? nothing : anything)
  }))
}

/** A text that matches as a whole, with or without anchors. */
export function wholeRegex(source: string): Expr {
  const pattern = parseRegex(source)
  const branches = pattern.op === 'any' ? pattern.items : [pattern]
  return any(...branches.map(branch => {
    const items = branch.op === 'seq' ? branch.items : [branch]
    return patternExpr({ op: 'seq', items: items.slice(items[0]?.op === 'begin' ? 1 : 0, items.at(-1)?.op === 'end' ? -1 : undefined) }, characters)
  }))
}
