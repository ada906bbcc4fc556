/** Grammars in EBNF, as GBNF and XGrammar have them: `root ::= "yes" | [0-9]+ item{2,4}  # a comment`. */
import { any, characters, literal, nothing, repeat, rule, seq, without, everyCharacter, wrong, type Expr, type Range } from './expr.ts'

const names = /^[A-Za-z_][A-Za-z0-9_-]*/
const escapes: { readonly [letter: string]: string } = { n: '\n', r: '\r', t: '\t', '\\': '\\', '"': '"', '\'': '\'', ']': ']', '[': '[', '-': '-', '^': '^', '/': '/' }
const deepest = 100

/** @throws UsageError that names the line */
export function parseEbnf(source: string): Map<string, Expr> {
  const rules = new Map<string, Expr>()
  let at = 0
  let depth = 0
  const fail = (what: string): Error => wrong(`the grammar, line ${source.slice(0, at).split('\n').length}: ${what}`, 'write rules as name ::= expression, the first of them root')
  const blank = (acrossLines: boolean): void => {
    for (;;) {
      const found = /^(?:[ \t]+|#[^\n]*)/.exec(source.slice(at, at + 4096))?.[0] ?? (acrossLines ? /^[\r\n]+/.exec(source.slice(at, at + 4096))?.[0] : undefined)
      if (found === undefined) return
      at += found.length
    }
  }
  /** A rule's expression ends where another rule begins. */
  const beginsRule = (): boolean => /^[A-Za-z_][A-Za-z0-9_-]*[ \t]*::=/.test(source.slice(at, at + 300))
  const character = (): number => {
    if (source[at] !== '\\') {
      const p = source.codePointAt(at) as number
      at += p > 0xffff ? 2 : 1
      return p
    }
    const hex = /^\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(source.slice(at, at + 10))
    if (hex !== null) {
      at += hex[0].length
      const p = parseInt(hex[1] ?? hex[2] ?? hex[3] ?? '', 16)
      if (p > 0x10ffff) throw fail('there is no such character')
      return p
    }
    const found = escapes[source[at + 1] ?? '']
    if (found === undefined) throw fail(`\\${source[at + 1] ?? ''} is no escape`)
    at += 2
    return found.codePointAt(0) as number
  }
  function choice(grouped: boolean): Expr {
    if (++depth > deepest) throw fail(`groups lie in each other more than ${deepest} deep`)
    const items = [sequence(grouped)]
    for (;;) {
      const before = at
      blank(true)
      if (source[at] !== '|') {
        at = before
        break
      }
      at++
      items.push(sequence(grouped))
    }
    depth--
    return any(...items)
  }
  function sequence(grouped: boolean): Expr {
    const items: Expr[] = []
    for (;;) {
      const before = at
      blank(true)
      const c = source[at]
      if (c === undefined || c === '|' || c === ')' || beginsRule()) {
        if (c !== '|' && c !== ')') at = before
        return items.length === 0 ? nothing : seq(...items)
      }
      items.push(repeated(atom(grouped)))
    }
  }
  function repeated(item: Expr): Expr {
    for (let found = item; ;) {
      const times = /^(?:([*+?])|\{(\d+)(,(\d*))?\})/.exec(source.slice(at, at + 24))
      if (times === null) return found
      at += times[0].length
      const [, sign, least, comma, most] = times
      const [min, max] = sign === '*' ? [0, Infinity] : sign === '+' ? [1, Infinity] : sign === '?' ? [0, 1] : [Number(least), comma === undefined ? Number(least) : most === '' ? Infinity : Number(most)]
      if (max < min || min > 100_000 || (max !== Infinity && max > 100_000)) throw fail(`${times[0]} is no number of times`)
      found = repeat(found, min, max)
    }
  }
  function atom(grouped: boolean): Expr {
    const c = source[at]
    if (c === '"' || c === '\'') {
      at++
      let text = ''
      while (source[at] !== c) {
        if (source[at] === undefined || source[at] === '\n') throw fail('a text is not closed')
        text += String.fromCodePoint(character())
      }
      at++
      return literal(text)
    }
    if (c === '[') {
      at++
      const negated = source[at] === '^'
      if (negated) at++
      const ranges: Range[] = []
      while (source[at] !== ']') {
        if (source[at] === undefined) throw fail('a class is not closed')
        const from = character()
        if (source[at] === '-' && source[at + 1] !== ']') {
          at++
          const to = character()
          if (to < from) throw fail('a range of a class runs backwards')
          ranges.push([from, to])
        } else ranges.push([from, from])
      }
      at++
      return characters(negated ? without(everyCharacter, ranges) : ranges)
    }
    if (c === '.') {
      at++
      return characters(everyCharacter)
    }
    if (c === '(') {
      at++
      const inner = choice(true)
      blank(true)
      if (source[at] !== ')') throw fail('a group is not closed')
      at++
      return inner
    }
    const name = names.exec(source.slice(at, at + 256))?.[0]
    if (name === undefined) throw fail(`"${source.slice(at, at + 10)}" is not understood${grouped ? ' in a group' : ''}`)
    at += name.length
    return rule(name)
  }
  for (;;) {
    blank(true)
    if (at >= source.length) break
    const name = names.exec(source.slice(at, at + 256))?.[0]
    if (name === undefined || !beginsRule()) throw fail('a rule is expected')
    at += name.length
    blank(false)
    at += 3
    if (rules.has(name)) throw fail(`there are two rules "${name}"`)
    rules.set(name, choice(false))
  }
  if (!rules.has('root')) throw wrong('the grammar has no rule "root"', 'name the first rule root')
  return rules
}
