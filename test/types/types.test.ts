/** What the compiler accepts, what it refuses and in which words, and what checking costs it. */
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'
import { expectGolden } from '../golden/support.ts'

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const root = at('../../')
const fixture = (name: string): string => at(`fixtures/${name}.ts`)

/** The options of the repository's own tsconfig. */
const options = ((): ts.CompilerOptions => {
  const { config, error } = ts.readConfigFile(`${root}tsconfig.json`, path => ts.sys.readFile(path))
  if (error !== undefined) throw new Error(ts.flattenDiagnosticMessageText(error.messageText, '\n'))
  return ts.parseJsonConfigFileContent(config, ts.sys, root).options
})()

/** The order of names in a union or a mapped type is that in which the checker met them, which is not part of the message. */
const inOrder = (text: string): string => text
  .replace(/"[\w.-]+"(?: \| "[\w.-]+")+/g, union => union.split(' | ').sort().join(' | '))
  .replace(/(?:readonly [\w.]+: true; )+/g, members => members.trim().split('; ').map(m => m.replace(/;$/, '')).sort().map(m => `${m}; `).join(''))

function textOf(d: ts.Diagnostic): string {
  const text = ts.flattenDiagnosticMessageText(d.messageText, '\n').replaceAll(root, '').replaceAll(/import\("[^"]*"\)\./g, '')
  return `TS${d.code}: ${inOrder(text)}`.split('\n').map(l => `    ${l}`).join('\n')
}
const spanOf = ({ file, start = 0, length = 0 }: ts.Diagnostic): string => {
  const line = file?.text.slice(file.text.lastIndexOf('\n', start) + 1, start) ?? ''
  return `${/\w+\($/.exec(line)?.[0] ?? ''}${file?.text.slice(start, start + length).split('\n')[0] ?? ''}`
}
const messageOf = (d: ts.Diagnostic): string => `  ${spanOf(d)}\n${textOf(d)}`
/** What is said in the same words of several places is said once. */
function messagesOf(found: readonly ts.Diagnostic[]): string[] {
  const places = new Map<string, string[]>()
  for (const d of found) places.set(textOf(d), [...places.get(textOf(d)) ?? [], spanOf(d)])
  return [...places].map(([text, spans]) => `  ${spans.join('  ')}\n${text}`)
}

interface Mistake { readonly title: string; readonly start: number; readonly end: number; readonly found: readonly ts.Diagnostic[] }

/** The planted mistakes of a file, each from its comment to the next, with what is said there; and what is said elsewhere. */
function mistakesOf({ text }: ts.SourceFile, found: readonly ts.Diagnostic[]): { readonly mistakes: readonly Mistake[]; readonly elsewhere: readonly string[] } {
  const marks = [...text.matchAll(/^\/\/ MISTAKE (.*)$/gm)]
  const said = (from: number, to: number): ts.Diagnostic[] => found.filter(d => (d.start ?? -1) >= from && (d.start ?? -1) < to)
  const mistakes = marks.map((m, i): Mistake => {
    const end = marks[i + 1]?.index ?? text.length
    return { title: m[1] ?? '', start: m.index, end, found: said(m.index, end) }
  })
  return { mistakes, elsewhere: said(-1, mistakes[0]?.start ?? text.length).map(messageOf) }
}

const names = ['good', 'tensors', 'layers', 'layouts', 'runs', 'windows', 'control', 'elementwise', 'rearranging', 'indexing', 'random', 'functions', 'programs', 'pipelines', 'generic'] as const
const doors = ['src/index.ts', 'src/nn/index.ts', 'src/parallel/index.ts', 'src/train/index.ts']
const program = ts.createProgram([...names.map(fixture), ...doors.map(d => `${root}${d}`)], options)
const sourceOf = (path: string): ts.SourceFile => {
  const source = program.getSourceFile(path)
  if (source === undefined) throw new Error(`there is no ${path}`)
  return source
}
/** A host for which the files of the program are read and parsed already, but for those that `instead` gives. */
function reading(instead: (name: string) => ts.SourceFile | undefined): ts.CompilerHost {
  const host = ts.createCompilerHost(options)
  return { ...host, getSourceFile: (name, version) => instead(name) ?? program.getSourceFile(name) ?? host.getSourceFile(name, version) }
}
// All at once and in order, so that no message depends on which tests are run.
const checked = names.map(name => {
  const source = sourceOf(fixture(name))
  const found = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
  return { name, source, found, ...mistakesOf(source, found) }
})

describe('the compiler', () => {
  test('accepts good programs and finds their dims', () => {
    expect([...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()].map(messageOf)).toEqual([])
    expect(checked.find(c => c.name === 'good')?.found.map(messageOf)).toEqual([])
  })

  test.each(checked.filter(c => c.name !== 'good'))('refuses every mistake with $name, in these words', ({ name, source, mistakes, elsewhere }) => {
    expect(elsewhere).toEqual([])
    expect(mistakes.length).toBeGreaterThan(0)
    expect(mistakes.filter(m => m.found.length === 0).map(m => m.title)).toEqual([])
    // Every statement among them is one.
    const silent = source.statements.filter(s => mistakes.some(m => s.getStart() > m.start && s.end <= m.end && !m.found.some(d => (d.start ?? -1) >= s.getStart() && (d.start ?? -1) < s.end)))
    expect(silent.map(s => s.getText())).toEqual([])
    expectGolden(at(`golden/${name}.txt`), mistakes.map(m => `${m.title}\n${messagesOf(m.found).join('\n')}\n`).join('\n'))
  })
})

describe('the fixtures', () => {
  const checker = program.getTypeChecker()
  const meant = (s: ts.Symbol): ts.Symbol => ((s.flags & ts.SymbolFlags.Alias) === 0 ? s : checker.getAliasedSymbol(s))
  const exported = doors.flatMap(d => checker.getExportsOfModule(checker.getSymbolAtLocation(sourceOf(`${root}${d}`)) ?? (() => { throw new Error(`${d} is no module`) })()).map(meant))
  // Methods of a tensor of known dims are other symbols, declared in one place.
  const declarationOf = (s: ts.Symbol): ts.Declaration | undefined => s.declarations?.[0]
  const isFunction = (s: ts.Symbol): boolean => s.valueDeclaration !== undefined && checker.getTypeOfSymbol(s).getCallSignatures().length > 0
  const tensor = exported.find(s => s.name === 'Tensor')
  const methods = [...tensor?.members?.values() ?? []].filter(s => (s.flags & ts.SymbolFlags.Method) !== 0)
  const all = [...new Set([...exported.filter(isFunction), ...methods])]

  /** What a call calls: a function of ours, or a method of a tensor. */
  const calledBy = (call: ts.CallExpression): ts.Declaration | undefined => {
    const found = checker.getSymbolAtLocation(ts.isPropertyAccessExpression(call.expression) ? call.expression.name : call.expression)
    return found === undefined ? undefined : declarationOf(meant(found))
  }
  const calls = (root: ts.Node): ts.CallExpression[] => {
    const found: ts.CallExpression[] = []
    const walk = (n: ts.Node): void => {
      if (ts.isCallExpression(n)) found.push(n)
      n.forEachChild(walk)
    }
    walk(root)
    return found
  }
  const everyCall = checked.flatMap(c => calls(c.source).map(call => ({ ...c, call })))
  /** The call that a message is about: the innermost one in whose arguments it points. */
  const blamed = checked.flatMap(({ source, mistakes }) => mistakes.flatMap(m => m.found).flatMap(({ start = 0 }) =>
    calls(source).filter(c => start > c.expression.end - 1 && start < c.end).sort((a, b) => (a.end - a.expression.end) - (b.end - b.expression.end)).slice(0, 1)
      .concat(calls(source).filter(c => start >= c.getStart() && start < c.end && ts.isPropertyAccessExpression(c.expression) && start === c.expression.name.getStart()))
      .concat(calls(source).filter(c => start === c.getStart()))))

  test('every function and every method is called in a program that compiles', () => {
    expect(all.length).toBeGreaterThan(150)
    const used = new Set(everyCall.filter(({ call, mistakes }) => call.end <= (mistakes[0]?.start ?? Infinity)).map(c => calledBy(c.call)))
    expect(all.filter(s => !used.has(declarationOf(s))).map(s => s.name)).toEqual([])
  })
  test('of every function and every method a wrong call is refused', () => {
    const refused = new Set(blamed.map(calledBy))
    expect(all.filter(s => !refused.has(declarationOf(s))).map(s => s.name)).toEqual([])
  })
})

describe('the class of tensors and their interface', () => {
  type Edit = readonly [file: 'types.ts' | 'tensor.ts', piece: string, instead: string]
  /** What the compiler says in tensor.ts once pieces of both files are others. */
  const saidOf = (...edits: readonly Edit[]): string => {
    const at = (file: string): string => `${root}src/graph/${file}`
    const texts = new Map(['types.ts', 'tensor.ts'].map(file => [at(file), sourceOf(at(file)).text]))
    for (const [file, piece, instead] of edits) {
      const text = texts.get(at(file)) ?? ''
      expect(text).toContain(piece)
      texts.set(at(file), text.replace(piece, instead))
    }
    const other = ts.createProgram([at('tensor.ts')], options, reading(name => { const text = texts.get(name); return text === undefined ? undefined : ts.createSourceFile(name, text, ts.ScriptTarget.ES2023, true) }), program)
    return other.getSemanticDiagnostics(other.getSourceFile(at('tensor.ts'))).map(found => ts.flattenDiagnosticMessageText(found.messageText, '\n')).join('\n')
  }
  test('a method that one of them lacks does not compile', () => {
    const said = saidOf(['types.ts', 'erfInv(): Tensor<D>', 'erfInv(): Tensor<D>\n  twice(): Tensor<D>'], ['tensor.ts', 'erfInv(): Tensor<string> {', 'thrice(): Tensor<string> { return this.mul(3) }\n  erfInv(): Tensor<string> {'])
    expect(said).toContain("Property 'twice' is missing in type 'TensorOfNode'")
    expect(said).toMatch(/does not satisfy the expected type 'Held<.*\n.*'thrice'/)
  })
  test('a method that takes fewer parameters, other ones, or returns something else does not compile', () => {
    const said = saidOf(['types.ts', 'clamp(low: number, high: number)', 'clamp(low: number, high: number, steps: number)'], ['types.ts', '  neg(): Tensor<D>', '  neg(): boolean'],
      ['tensor.ts', '  rename(from: DimLike<string>, to: DimLike<string>)', '  rename(from: DimLike<string>, to: string)'])
    expect(said).toMatch(/does not satisfy the expected type 'Held<.*\n.*'clamp'/)
    expect(said).toContain("Property 'neg' in type 'TensorOfNode' is not assignable")
    expect(said).toContain("Property 'rename' in type 'TensorOfNode' is not assignable")
  })
})

/** Type instantiations that checking one file takes, with all that it imports. */
function instantiations(path: string): number {
  const alone = ts.createProgram([path], options, reading(() => undefined))
  expect(alone.getSemanticDiagnostics(alone.getSourceFile(path)).map(messageOf)).toEqual([])
  // The compiler counts them for `--extendedDiagnostics`; its published types leave the method out.
  return (alone as ts.Program & { readonly getInstantiationCount: () => number }).getInstantiationCount()
}

test('checking the GPT takes at most 5000 instantiations', () => {
  const count = instantiations(`${root}src/models/gpt.ts`)
  expect(count).toBeGreaterThan(500)
  expect(count).toBeLessThanOrEqual(5000)
})
