/** StableHLO text → module: MLIR's generic op syntax, functions and returns also in the pretty one. */
import { Lexer } from './lexer.ts'
import { parseAttribute, parseFields, parseType } from './parse-attribute.ts'
import type { Attributes, Block, Func, Location, Module, Op, Typed } from './program.ts'

/** @throws PluginError with the line that cannot be read. */
export function parseModule(text: string): Module {
  const parser = new Parser(text)
  parser.items('')
  return parser.functions
}

const returns = new Set(['return', 'func.return', 'stablehlo.return'])
const bare = (quoted: string): string => quoted.slice(1, -1)

class Parser {
  readonly functions = new Map<string, Func>()
  private readonly l: Lexer
  private readonly locations = new Map<string, Location>()

  constructor(text: string) { this.l = new Lexer(text) }

  /** What a module consists of, up to `close`. */
  items(close: string): void {
    while (!this.l.accept(close)) {
      if (this.l.text.startsWith('#')) this.alias()
      else if (this.l.text.startsWith('"')) this.genericItem()
      else if (this.l.accept('module')) this.module()
      else if (this.l.accept('func.func')) this.func()
      else this.l.fail('expected a function')
    }
  }

  private module(): void {
    if (this.l.text.startsWith('@')) this.l.next()
    if (this.l.accept('attributes')) { this.l.expect('{'); parseFields(this.l, '}') }
    this.l.expect('{')
    this.items('}')
    this.location()
  }

  private func(): void {
    if (!this.l.accept('public')) this.l.accept('private')
    const name = this.l.take('@', 'the name of a function').slice(1)
    const parameterAttributes: Attributes[] = []
    this.l.expect('(')
    const parameters = this.l.list(')', () => {
      const parameter = this.parameter()
      parameterAttributes.push(this.l.accept('{') ? parseFields(this.l, '}') : new Map())
      this.location()
      return parameter
    })
    // The types of the results are repeated by the return.
    if (this.l.accept('->')) {
      if (this.l.accept('(')) this.l.list(')', () => { parseType(this.l); if (this.l.accept('{')) parseFields(this.l, '}') })
      else parseType(this.l)
    }
    if (this.l.accept('attributes')) { this.l.expect('{'); parseFields(this.l, '}') }
    this.l.expect('{')
    const body = this.block(parameters)
    this.location()
    this.functions.set(name, { name, body, parameterAttributes })
  }

  /** `"builtin.module"`, `"func.func"`: as `print_generic_op_form` has them. */
  private genericItem(): void {
    const name = bare(this.l.next())
    this.l.expect('(')
    this.l.expect(')')
    const attributes = this.properties()
    this.l.expect('(')
    this.l.expect('{')
    if (name === 'builtin.module') this.items('}')
    else {
      const [symbol, listed] = [attributes.get('sym_name'), attributes.get('arg_attrs')]
      if (symbol?.kind !== 'word') this.l.fail('the function before this has no name')
      const parameterAttributes = listed?.kind === 'list' ? listed.items.map(a => (a.kind === 'fields' ? a.entries : new Map())) : []
      this.functions.set(symbol.text, { name: symbol.text, body: this.region(), parameterAttributes })
    }
    this.l.expect(')')
    if (this.l.accept('{')) parseFields(this.l, '}')
    this.signature([])
    this.location()
  }

  private parameter(): Typed {
    const name = this.l.take('%', 'a parameter')
    this.l.expect(':')
    return { name, type: parseType(this.l) }
  }

  /** A region after its brace. */
  private region(): Block {
    if (!this.l.text.startsWith('^')) return this.block([])
    this.l.next()
    const parameters = this.l.accept('(') ? this.l.list(')', () => { const p = this.parameter(); this.location(); return p }) : []
    this.l.expect(':')
    return this.block(parameters)
  }

  /** Ops up to the return, and the brace after it. */
  private block(parameters: readonly Typed[]): Block {
    const ops: Op[] = []
    for (;;) {
      if (returns.has(this.l.text)) {
        this.l.next()
        const names = this.l.text === '}' || this.l.text === 'loc' ? [] : this.values()
        const results = names.length === 0 || !this.l.accept(':') ? [] : names.map((name, i) => {
          if (i > 0) this.l.expect(',')
          return { name, type: parseType(this.l) }
        })
        return this.end({ parameters, ops, results })
      }
      const op = this.op()
      if (returns.has(op.name)) return this.end({ parameters, ops, results: op.operands })
      ops.push(op)
    }
  }

  private end(block: Block): Block {
    this.location()
    this.l.expect('}')
    return block
  }

  /** A value's name; `%5#0` is `%5`. */
  private value(): string { return this.l.take('%', 'a value').replace(/#0$/, '') }

  private values(): string[] {
    const names = [this.value()]
    while (this.l.accept(',')) names.push(this.value())
    return names
  }

  private op(): Op {
    const names = this.l.text.startsWith('%') ? this.resultNames() : []
    const name = bare(this.l.take('"', 'an op in generic form, or the return of this function')).replace(/^stablehlo\.(?!return)/, '')
    this.l.expect('(')
    const operands = this.l.list(')', () => this.value())
    const properties = this.properties()
    const regions = this.l.accept('(') ? this.l.list(')', () => { this.l.expect('{'); return this.region() }) : []
    const discardable = this.l.accept('{') ? parseFields(this.l, '}') : []
    const types = this.signature(operands)
    if (types.results.length !== names.length) {
      this.l.fail(`the ${name} before this names ${names.length} results of ${types.results.length} types`)
    }
    return {
      name, operands: types.operands, regions, attributes: new Map([...properties, ...discardable]),
      results: names.map((result, i) => ({ name: result, type: types.results[i] as Typed['type'] })), loc: this.location(),
    }
  }

  /** `%5:2 =` gives `%5` and `%5#1`; `%a, %b =` is read too. */
  private resultNames(): string[] {
    const names = this.values()
    const [name = ''] = names
    if (this.l.accept(':')) names.push(...Array.from({ length: Number(this.l.next()) - 1 }, (_, i) => `${name}#${i + 1}`))
    this.l.expect('=')
    return names
  }

  private properties(): Attributes {
    if (!this.l.accept('<')) return new Map()
    this.l.expect('{')
    const fields = parseFields(this.l, '}')
    this.l.expect('>')
    return fields
  }

  /** `: (types) -> types` */
  private signature(operands: readonly string[]): { operands: Typed[]; results: Typed['type'][] } {
    this.l.expect(':')
    this.l.expect('(')
    const types = this.l.list(')', () => parseType(this.l))
    if (types.length !== operands.length) this.l.fail(`the op before this has ${operands.length} operands and ${types.length} types`)
    this.l.expect('->')
    const results = this.l.accept('(') ? this.l.list(')', () => parseType(this.l)) : [parseType(this.l)]
    return { operands: operands.map((name, i) => ({ name, type: types[i] as Typed['type'] })), results }
  }

  /** `loc(…)`, if it is there: the first place in a file that it names, or that an alias in it stands for. */
  private location(): Location {
    const found: Location = {}
    if (!this.l.accept('loc')) return found
    this.l.expect('(')
    for (let depth = 1; depth > 0;) {
      const text = this.l.text === '' ? this.l.fail('expected ")"') : this.l.next()
      if (text === '(') depth++
      else if (text === ')') depth--
      else if (found.site !== undefined || found.of !== undefined) continue
      else if (text.startsWith('#')) found.of = this.aliased(text)
      else if (text.startsWith('"') && this.l.accept(':')) {
        const line = Number(this.l.next())
        this.l.expect(':')
        found.site = { file: bare(text), line, column: Number(this.l.next()) }
      }
    }
    return found
  }

  private aliased(name: string): Location {
    const known = this.locations.get(name) ?? {}
    this.locations.set(name, known)
    return known
  }

  /** `#loc1 = loc(…)`; other aliases are read past. */
  private alias(): void {
    const name = this.l.next()
    this.l.expect('=')
    if (this.l.text === 'loc') Object.assign(this.aliased(name), this.location())
    else parseAttribute(this.l)
  }
}
