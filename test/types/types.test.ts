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

function messageOf(d: ts.Diagnostic): string {
  const span = d.file?.text.slice(d.start, (d.start ?? 0) + (d.length ?? 0)).split('\n')[0] ?? ''
  const text = ts.flattenDiagnosticMessageText(d.messageText, '\n').replaceAll(root, '').replaceAll(/import\("[^"]*"\)\./g, '')
  return `  ${span}\n${`TS${d.code}: ${inOrder(text)}`.split('\n').map(l => `    ${l}`).join('\n')}`
}

interface Mistake { readonly title: string; readonly start: number; readonly messages: readonly string[] }

/** The planted mistakes of a file, each from its comment to the next, with what is said there; and what is said elsewhere. */
function mistakesOf({ text }: ts.SourceFile, found: readonly ts.Diagnostic[]): { readonly mistakes: readonly Mistake[]; readonly elsewhere: readonly string[] } {
  const marks = [...text.matchAll(/^\/\/ MISTAKE (.*)$/gm)]
  const said = (from: number, to: number): string[] => found.filter(d => (d.start ?? -1) >= from && (d.start ?? -1) < to).map(messageOf)
  const mistakes = marks.map((m, i) => ({ title: m[1] ?? '', start: m.index, messages: said(m.index, marks[i + 1]?.index ?? text.length) }))
  return { mistakes, elsewhere: said(-1, mistakes[0]?.start ?? text.length) }
}

describe('the compiler', () => {
  const names = ['good', 'tensors', 'layers', 'layouts', 'windows', 'control']
  const program = ts.createProgram(names.map(fixture), options)
  // All at once and in order, so that no message depends on which tests are run.
  const checked = new Map(names.map(name => {
    const source = program.getSourceFile(fixture(name))
    if (source === undefined) throw new Error(`there is no fixture ${name}`)
    return [name, { source, found: [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)] }]
  }))

  test('accepts good programs and finds their dims', () => {
    expect([...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()].map(messageOf)).toEqual([])
    expect(checked.get('good')?.found.map(messageOf)).toEqual([])
  })

  test.each([['tensors', 20], ['layers', 14], ['layouts', 11], ['windows', 8], ['control', 11]] as const)('refuses every mistake with %s, in these words', (name, count) => {
    const file = checked.get(name)
    if (file === undefined) throw new Error(`${name} was not checked`)
    const { mistakes, elsewhere } = mistakesOf(file.source, file.found)
    expect(elsewhere).toEqual([])
    expect(mistakes.length).toBe(count)
    expect(mistakes.filter(m => m.messages.length === 0).map(m => m.title)).toEqual([])
    expectGolden(at(`golden/${name}.txt`), mistakes.map(m => `${m.title}\n${m.messages.join('\n')}\n`).join('\n'))
  })
})

/** Type instantiations that checking one file takes, with all that it imports. */
function instantiations(path: string): number {
  const program = ts.createProgram([path], options)
  expect(program.getSemanticDiagnostics(program.getSourceFile(path)).map(messageOf)).toEqual([])
  // The compiler counts them for `--extendedDiagnostics`; its published types leave the method out.
  return (program as ts.Program & { readonly getInstantiationCount: () => number }).getInstantiationCount()
}

test('checking the GPT takes at most 4000 instantiations', () => {
  const count = instantiations(`${root}src/models/gpt.ts`)
  expect(count).toBeGreaterThan(500)
  expect(count).toBeLessThanOrEqual(4000)
})
