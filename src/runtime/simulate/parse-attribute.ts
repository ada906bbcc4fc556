/** Reads types and attributes. */
import { dtypes, type DType } from '../../core/dtype.ts'
import type { BufferType } from '../backend.ts'
import { denseStore } from './dense.ts'
import type { Lexer } from './lexer.ts'
import type { Attribute, Attributes } from './program.ts'

const dtypeOf = new Map(Object.entries(dtypes).map(([name, info]) => [info.hlo, name as DType]))
const known = new Map<string, BufferType>()

export function parseType(l: Lexer): BufferType {
  const text = l.text
  const before = known.get(text)
  if (before !== undefined) { l.next(); return before }
  const parts = /^tensor<((?:\d+x)*)(\w+)>$/.exec(text.replaceAll(' ', ''))
  const dtype = dtypeOf.get(parts?.[2] ?? '')
  if (parts === null || dtype === undefined) return l.fail('expected a tensor type with static sizes and an element type that Meshwork has')
  const type = Object.freeze({ shape: Object.freeze((parts[1] ?? '').split('x').filter(n => n !== '').map(Number)), dtype })
  known.set(text, type)
  l.next()
  return type
}

/** `{ a = 1, b }` after its brace; `close` ends it. */
export function parseFields(l: Lexer, close: string): Attributes {
  return new Map(l.list(close, () => {
    const key = l.next().replaceAll('"', '')
    return [key, l.accept('=') ? parseAttribute(l) : { kind: 'word', text: 'true' }]
  }))
}

const isNumber = (text: string): boolean => /^-?\d/.test(text)

export function parseAttribute(l: Lexer): Attribute {
  const text = l.next()
  if (text === '[') return { kind: 'list', items: l.list(']', () => parseAttribute(l)) }
  if (text === '{') return { kind: 'fields', entries: parseFields(l, '}') }
  if (text === 'dense') return parseDense(l)
  if (text === 'array') return parseArray(l)
  if (text === '(') return parseFunctionType(l)
  if (text.startsWith('#')) return parseDialect(l)
  const attribute: Attribute = { kind: isNumber(text) ? 'number' : 'word', text: text.replace(/^@/, '').replace(/^"(.*)"$/, '$1') }
  if (l.accept(':')) l.next()
  return attribute
}

/** `array<i64: 0, 2>` */
function parseArray(l: Lexer): Attribute {
  l.expect('<')
  l.next()
  if (l.accept('>')) return { kind: 'list', items: [] }
  l.expect(':')
  return { kind: 'list', items: l.list('>', () => ({ kind: isNumber(l.text) ? 'number' : 'word', text: l.next() })) }
}

/** `#stablehlo<comparison_direction LT>` is the word LT; `#stablehlo.dot<a = [0], …>` has fields. */
function parseDialect(l: Lexer): Attribute {
  if (!l.accept('<')) return { kind: 'word', text: 'alias' }
  if (l.accept('>')) return { kind: 'fields', entries: new Map() }
  if (l.text === '[') return parseConvolution(l)
  const first = l.next()
  if (l.text === '=') {
    l.next()
    const entries = new Map([[first, parseAttribute(l)]])
    if (!l.accept(',')) l.expect('>')
    else for (const [key, value] of parseFields(l, '>')) entries.set(key, value)
    return { kind: 'fields', entries }
  }
  const text = l.text === '>' ? first : l.next()
  l.expect('>')
  return { kind: 'word', text }
}

/** `[b, 0, f]x[0, i, o]->[b, 0, f]>`: what each dim is, of the left, the right and the result. */
function parseConvolution(l: Lexer): Attribute {
  const side = (): Attribute => {
    l.expect('[')
    return { kind: 'list', items: l.list(']', () => ({ kind: isNumber(l.text) ? 'number' : 'word', text: l.next() })) }
  }
  const left = side()
  l.expect('x')
  const right = side()
  l.expect('->')
  const entries = new Map([['lhs', left], ['rhs', right], ['result', side()]])
  l.expect('>')
  return { kind: 'fields', entries }
}

/** `(tensor<f32>) -> (tensor<f32>, tensor<f32>)`, which says nothing that the body does not. */
function parseFunctionType(l: Lexer): Attribute {
  l.list(')', () => parseType(l))
  l.expect('->')
  if (l.accept('(')) l.list(')', () => parseType(l))
  else parseType(l)
  return { kind: 'word', text: 'function type' }
}

function parseDense(l: Lexer): Attribute {
  l.expect('<')
  const texts: string[] = []
  const collect = (): void => {
    if (l.accept('[')) l.list(']', collect)
    else texts.push(l.next())
  }
  const splat = l.text !== '['
  if (l.text !== '>') collect()
  l.expect('>')
  l.expect(':')
  const type = parseType(l)
  const store = denseStore(type, texts, splat)
  return store === undefined ? l.fail(`the constant before this does not fill its type`) : { kind: 'dense', type, store }
}
