/** What the deep run is made of: parts of some seconds each, the same list for the same seed. */
import { fileURLToPath } from 'node:url'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { everyCase } from '../cases/index.ts'
import { compiledMeshes } from '../fuzz/search.ts'
import { found, shortName } from '../mpi/support.ts'
import { forms } from '../parallel/forms.ts'
import { meshText, type MeshSizes } from '../support/again.ts'
import { meshes } from '../support/op-table.ts'
import { draw } from '../support/values.ts'

/** Some cases in every `of`-th of their legal layouts on a mesh. `where` is a plugin, or mpi:NAME. */
export interface OpsPart { readonly kind: 'ops'; readonly where: string; readonly mesh: MeshSizes; readonly names: readonly string[]; readonly seed: number; readonly part: number; readonly of: number }
/** Random programs, one after another on `simulate`, or a few as one by XLA. */
export interface FuzzPart { readonly kind: 'fuzz'; readonly plugin: 'simulate' | 'cpu'; readonly seed: number; readonly programs: number; readonly mesh: number }
/** A test file that takes a part of a product in `npm test`, and all of it here; of it the tests whose names match, or all with ''. */
export interface FilePart { readonly kind: 'file'; readonly file: string; readonly pattern: string }

export type Work = OpsPart | FuzzPart | FilePart
export interface Part {
  /** Unique, and without spaces: what `--part` takes. */
  readonly id: string
  /** What it counts to in the summary. */
  readonly group: 'op table' | 'op table over MPI' | 'random programs' | 'test files'
  readonly work: Work
}

export const root = fileURLToPath(new URL('../..', import.meta.url))

/** A permutation that follows from the seed (Fisher and Yates). */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  const all = [...items]
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(draw(seed, i) * (i + 1))
    const [a, b] = [all[i], all[j]]
    if (a !== undefined && b !== undefined) [all[i], all[j]] = [b, a]
  }
  return all
}

/** Into how many parts the layouts of some cases are cut, so that each takes about as long: meshes of more axes have more of them. */
const slicesOf = (sizes: MeshSizes): number => [1, 1, 3, 10][Object.keys(sizes).length] ?? 10
/** How many cases a part has: XLA compiles for as long as ten cases are interpreted. */
const casesOf = (where: string): number => (where === 'simulate' ? 40 : where === 'cpu' ? 10 : 8)

function opParts(seed: number): Part[] {
  const names = shuffled(everyCase.map(c => c.name), seed)
  const places = [...['simulate', 'cpu'].map(where => ({ where, on: meshes })), ...found.map(m => ({ where: `mpi:${shortName(m)}`, on: meshes.filter(sizes => meshOf(sizes).size === 4) }))]
  return places.flatMap(({ where, on }) => on.flatMap(mesh => {
    const [count, of] = [Math.ceil(names.length / casesOf(where)), slicesOf(mesh)]
    return Array.from({ length: count * of }, (_, i): Part => {
      const [chunk, part] = [Math.floor(i / of), i % of]
      const some = names.slice(chunk * casesOf(where), (chunk + 1) * casesOf(where))
      return {
        id: `ops/${where}/${meshText(mesh)}/${chunk}.${part}`, group: where.startsWith('mpi') ? 'op table over MPI' : 'op table',
        work: { kind: 'ops', where, mesh, names: some, seed, part, of },
      }
    })
  }))
}

const programs = 20_000
const perPart = 25
const fuzzParts = (seed: number): Part[] => [
  ...Array.from({ length: programs / perPart }, (_, i): Part => {
    const own = Math.floor(draw(seed, 1_000_000 + i) * 2 ** 31)
    return { id: `fuzz/simulate/${i}`, group: 'random programs', work: { kind: 'fuzz', plugin: 'simulate', seed: own, programs: perPart, mesh: 0 } }
  }),
  ...Array.from({ length: 40 }, (_, i): Part => {
    const own = Math.floor(draw(seed, 2_000_000 + i) * 2 ** 31)
    return { id: `fuzz/cpu/${i}`, group: 'random programs', work: { kind: 'fuzz', plugin: 'cpu', seed: own, programs: 1, mesh: compiledMeshes[i % compiledMeshes.length] ?? 0 } }
  }),
]

export const files: readonly (readonly [file: string, pattern: string])[] = [
  ['test/same-numbers.test.ts', 'simulate'], ['test/same-numbers.test.ts', 'cpu'],
  ...found.map(m => ['test/mpi/numbers.test.ts', m.name] as const),
  ...['cpu', 'simulate'].flatMap(plugin => ['f64', 'f32', 'bf16', 'f16'].map(dtype => ['test/elementwise/functions.test.ts', `${plugin} ${dtype}`] as const)),
  ['test/distributions.test.ts', ''], ['test/train/quantize.test.ts', ''], ['test/cli/bad-input.test.ts', ''], ['test/train/precision.test.ts', ''], ['test/train/context.test.ts', ''], ['test/nn/context-devices.test.ts', 'memory'], ['test/train/microbatches.test.ts', ''], ['test/partition/addends.test.ts', ''], ['test/parallel/pipeline-models.test.ts', ''], ['test/parallel/pipeline-experts.test.ts', ''],
  ...['autolayout/exhaust', 'autolayout/find', 'autolayout/known', 'autolayout/stages', 'checkpoint/damage', 'cli/commands', 'cli/examples', 'cli/recipes', 'cost/memory', 'data/store/harm', 'data/store/memory', 'data/tokenizer-mutations', 'docs', 'engine/own-flash', 'formats/config-mutations', 'formats/mutations',
    'models/experts', 'models/in-context', 'page/plans', 'page/watch', 'parallel/memory', 'parallel/pipeline-costs', 'soak/signals', 'parallel/pipeline', 'partition/closed-forms', 'train/pairs'].map(name => [`test/${name}.test.ts`, ''] as const),
  ...['gpt,', 'llama,', 'gpt that keeps all', 'gpt that keeps nothing', 'experts,', 't5,', 'conv net,', 'perceptron,'].map(model => ['test/autolayout/tables.test.ts', `layouts of ${model}`] as const),
  ...found.map(m => ['test/mpi/serving.test.ts', m.name] as const),
  // Each form by itself: all of them take many minutes.
  ...Object.keys(forms).map(name => ['test/parallel/training.test.ts', `^${name.replace(/[()+.]/g, '\\$&')}$`] as const),
  ...['JSONL', 'CSV', 'Parquet', 'tar', 'npy', 'IDX', 'gzip'].map(format => ['test/data/sources/mutations.test.ts', format] as const),
  ...['failures', 'bad-input'].flatMap(file => found.map(m => [`test/mpi/${file}.test.ts`, m.name] as const)),
  ...found.map(m => ['test/mpi/hosts.test.ts', m.name] as const),
  ...found.map(m => ['test/mpi/native.test.ts', m.name] as const),
]
/** Of each file that is taken by patterns, what none of them matches: tests that are added later, too, have a part. */
const others: readonly (readonly [file: string, pattern: string])[] = [...new Set(files.map(([file]) => file))].flatMap(file => {
  const patterns = files.filter(([of]) => of === file).map(([, pattern]) => pattern)
  return patterns.includes('') ? [] : [[file, `^(?![^]*(?:${patterns.join('|')}))`] as const]
})
const filePart = (file: string, pattern: string, called: string): Part => ({ id: ['file', file.replace(/^test\/|\.test\.ts$/g, ''), called].filter(word => word !== '').join('/'), group: 'test files', work: { kind: 'file', file, pattern } })
const fileParts = (): Part[] => [...files.map(([file, pattern]) => filePart(file, pattern, pattern.replace(/\W/g, ''))), ...others.map(([file, pattern]) => filePart(file, pattern, 'others'))]

export const partsOf = (seed: number): Part[] => shuffled([...opParts(seed), ...fuzzParts(seed), ...fileParts()], seed + 1)
