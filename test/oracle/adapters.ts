/** Runs with adapters by `peft`, their merged weights by transformers: both answer as the run does, and weights that transformers writes again come back bit for bit. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { convertSource } from '../../src/checkpoint/convert.ts'
import { openWeights, weightsIn } from '../../src/checkpoint/index.ts'
import { openModel } from '../../src/cli/model-source.ts'
import type { Part } from '../../src/core/configurable.ts'
import { mesh as meshOf } from '../../src/core/mesh.ts'
import { loadInitial } from '../../src/checkpoint/weights.ts'
import { compile, placementTrees, type AnyTensor, type Backend, type Given, type MeshArray, type Tree } from '../../src/engine/index.ts'
import { bertClassifierModel, filesOf, gptModel, llamaModel, loraModel, type AnyModel, type BuildOptions, type LoraOptions } from '../../src/models/index.ts'
import { partOf, readPretrained } from '../../src/pretrained/pretrained.ts'
import { adamwCosine, defineRun, train } from '../../src/train/index.ts'
import type { Report } from './compare.ts'
import { peftPython, peftVersion, PythonError, run, transformersVersion, type Say } from './python.ts'

const script = fileURLToPath(new URL('adapters.py', import.meta.url))
const limit = 1e-4
const mesh = { batch: 2, model: 2 }
const rows = 4
const seq = 16

type AnyPart = Part<AnyModel, BuildOptions>
const cases: { readonly [name: string]: { readonly part: unknown; readonly lora: LoraOptions } } = {
  llama: { part: llamaModel({ vocab: 64, seq, layers: 2, embed: 32, heads: 4, kvHeads: 2, headDim: 8, hidden: 48, tied: true }), lora: { rank: 3, alpha: 7 } },
  'llama, some': { part: llamaModel({ vocab: 64, seq, layers: 3, embed: 32, heads: 4, headDim: 8, hidden: 48 }), lora: { rank: 4, on: ['query', 'value'] } },
  // GPT-2 keeps its weights the other way round, and queries, keys and values in one.
  gpt2: { part: gptModel({ vocab: 64, seq, layers: 2, embed: 32, heads: 4, headDim: 8, hidden: 48, biases: 'all' }), lora: { rank: 3, on: ['out', 'up', 'down'] } },
  'gpt2, parts': { part: gptModel({ vocab: 64, seq, layers: 2, embed: 32, heads: 4, headDim: 8, hidden: 48, biases: 'all' }), lora: { rank: 2, on: ['query', 'value'] } },
  bert: { part: bertClassifierModel({ vocab: 64, seq, layers: 2, embed: 32, heads: 4, hidden: 48, classes: 3 }), lora: { rank: 2, on: ['query', 'up'] } },
}

/** Any numbers, the same for a step. */
const ids = (step: number, count: number, below: number): Int32Array => Int32Array.from({ length: count }, (_, i) => (((step + 3) * 7919 + i * 104729) >>> 3) % below)
function batchOf(model: Pick<AnyModel, 'batch'>, step: number, count: number): { readonly [name: string]: Int32Array | Uint8Array } {
  const made = { tokens: ids(step, count * seq, 64), targets: ids(step + 1, count * seq, 64), labels: ids(step, count, 3), types: new Int32Array(count * seq), mask: new Uint8Array(count * seq).fill(1) }
  return Object.fromEntries(Object.entries(made).filter(([name]) => name in (model.batch as object)))
}

async function trained(part: AnyPart, out: string, backend: Backend, from?: string): Promise<void> {
  const model = part.build({ batch: rows })
  const data = { batch: (step: number, { from: first, to }: { readonly from: number; readonly to: number }) => {
    const all = batchOf(model, step, rows)
    return Object.fromEntries(Object.entries(all).map(([name, x]) => [name, x.slice(first * x.length / rows, to * x.length / rows)]))
  } }
  const made = defineRun({ name: 'case', model: part as never, data: data as never, batch: rows, steps: 3, optimizer: adamwCosine({ rate: from === undefined ? 1e-3 : 0.05 }), mesh, layout: { batch: 'batch', hidden: 'model' } as never, ...(from === undefined ? {} : { initFrom: { path: await weightsIn(from) } }) })
  await train(made, { backend, out })
}

/** The logits of a folder's model on the first batch. */
async function answered(folder: string, backend: Backend): Promise<Float32Array> {
  const part = partOf(await readPretrained(folder), { seq })
  const model = part.build({ batch: rows }) as AnyModel & { readonly logits: (p: Tree, b: Tree) => AnyTensor }
  const layers = meshOf(mesh)
  const logits = await compile((p: Tree, b: Tree) => model.logits(p, b), [model.params, model.batch] as const, { mesh: layers, backend, dims: model.dims, layout: { batch: 'batch', hidden: 'model' } })
  const wanted = placementTrees.flatten(logits.placements[0]).map(({ path, leaf }) => ({ path, value: leaf }))
  const { arrays, missing } = await loadInitial(await weightsIn(folder), wanted, {}, backend, layers, filesOf(part, model)?.naming)
  if (missing.length > 0) throw new Error(`${folder} lacks ${missing.join(', ')}`)
  const found = await logits(placementTrees.rebuild(logits.placements[0], wanted.map(w => arrays.get(w.path))) as Given<Tree>, batchOf(model, 0, rows) as never) as MeshArray
  const data = await found.read() as Float32Array
  for (const array of [...arrays.values(), found]) array.dispose()
  logits.dispose()
  return data
}

async function exported(from: string, to: string): Promise<void> {
  await using model = await openModel(from)
  await convertSource(model.weights, to, model.beside)
}

const same = async (a: string, b: string): Promise<boolean> => {
  await using one = await openWeights(a)
  await using two = await openWeights(b)
  for (const [name, tensor] of one.tensors) {
    const other = two.tensors.get(name)
    // Of what is tied transformers writes one.
    if (other === undefined) return false
    const [x, y] = [tensor, other].map(t => new Uint8Array(4 * t.shape.reduce((n, s) => n * s, 1))) as [Uint8Array, Uint8Array]
    await tensor.read(x, 0)
    await other.read(y, 0)
    if (tensor.tag !== other.tag || Buffer.compare(x, y) !== 0) return false
  }
  return one.tensors.size === two.tensors.size
}

export async function adaptersReport(backend: Backend, say: Say): Promise<Report> {
  const python = await peftPython(say)
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-adapters-'))
  try {
    const names = Object.keys(cases)
    for (const [i, { part, lora }] of Object.values(cases).entries()) {
      const at = (name: string): string => join(folder, `${i}`, name)
      await trained(part as AnyPart, at('base'), backend)
      await trained(loraModel(part as AnyPart, lora) as AnyPart, at('adapters'), backend, at('base'))
      await exported(at('adapters'), at('merged'))
      await writeFile(at('tokens.json'), JSON.stringify([...ids(0, rows * seq, 64)]))
      say(`${names[i]} made`)
    }
    const { code, output } = await run(python, [script, folder, String(rows)])
    if (code !== 0) throw new PythonError({ code: 'judge', what: 'the judge of adapters failed', details: { said: output.split('\n').slice(-3).join(' ') }, fix: `run it by hand: ${python} ${script} FOLDER ${rows}` })
    const judged = JSON.parse(output.trim().split('\n').at(-1) ?? '') as readonly { readonly peft: readonly number[] | null; readonly merged: readonly number[]; readonly base: readonly number[] }[]
    const verdicts: { readonly case: string; readonly what: string; readonly error: number; readonly passes: boolean }[] = []
    for (const [i, name] of names.entries()) {
      const at = (of: string): string => join(folder, `${i}`, of)
      const ours = await answered(at('adapters'), backend)
      const { peft, merged, base } = judged[i] ?? { peft: null, merged: [], base: [] }
      const scale = Math.max(...ours.map(Math.abs))
      const error = (theirs: readonly number[]): number => Math.max(...ours.map((x, j) => Math.abs(x - (theirs[j] ?? NaN)) / scale))
      const add = (what: string, found: number, passes: boolean): void => { verdicts.push({ case: name, what, error: found, passes }) }
      add('what was learnt shows', error(base), error(base) > 1e-2)
      if (peft === null) add('peft refuses adapters on parts of a tensor', 0, name.endsWith('parts'))
      else add('peft', error(peft), error(peft) < limit)
      add('merged, transformers', error(merged), error(merged) < limit)
      await exported(at('again'), at('back'))
      add('written by transformers and back, bit for bit', 0, await same(at('merged'), at('back')))
    }
    const passes = verdicts.every(v => v.passes)
    return {
      judge: `peft ${peftVersion}, transformers ${transformersVersion}`, plugin: backend.name, passes, worst: { adapters: Math.max(...verdicts.filter(v => v.what !== 'what was learnt shows').map(v => v.error)) }, verdicts,
      text: [`runs with adapters on 2×2, by peft ${peftVersion} and transformers ${transformersVersion}: logits, limit ${limit}`, ...verdicts.map(v => `${v.case.padEnd(14)}${v.what.padEnd(48)}${v.error.toExponential(1).padStart(10)}  ${v.passes ? 'ok' : 'FAILS'}`)].join('\n'),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
