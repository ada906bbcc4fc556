/** Text from a run's weights: one token at a time, on any mesh. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FileError } from '../core/errors.ts'
import { numbersOf } from '../core/half-precision.ts'
import { treeOps } from '../core/tree.ts'
import { loadWeights } from '../checkpoint/weights.ts'
import { readTokenizer, type Tokenizer } from '../data/index.ts'
import type { LayoutNames } from '../core/layout.ts'
import { anyOf, compile, fromFirst, input, mapTree, mesh as meshOf, MeshArray, param, placementTrees, type Arrays, type Backend, type Layouts, type Placements, type Scalar, type Source, type Tree } from '../engine/index.ts'
import { gpt, type Gpt, type GptBatch, type GptConfig, type GptParams, type GptWeights, type Precision, type Quantize } from '../models/index.ts'
import { sampleToken } from './sample.ts'

export interface GenerateOptions {
  readonly prompt: string
  /** Tokens to make at most; an end of text ends it sooner. */
  readonly tokens: number
  /** 0 takes the likeliest token every time. */
  readonly temperature: number
  readonly seed: number
  /** Once aborted, no more is made. */
  readonly signal?: AbortSignal
}
export interface Generator {
  /** Gives pieces of text as they are made, each of whole characters. Under MPI every rank must ask for the same text, and gets it. */
  generate(options: GenerateOptions): AsyncGenerator<string>
  dispose(): void
}
export interface GeneratorOptions extends Layouts {
  readonly backend: Backend
  readonly mesh: { readonly [axis: string]: number }
  readonly precision: Precision
  /** Bits of the weights that are contracted; as the run has them unless said. */
  readonly weights?: WeightBits
}
/** What weights become once they are loaded. */
export const weightBits: { readonly int8: Quantize; readonly int4: Quantize } = { int8: { bits: 8 }, int4: { bits: 4 } }
export type WeightBits = keyof typeof weightBits

/** What a run folder says of its model. @throws FileError */
export async function readRunFolder(folder: string): Promise<{ readonly config: GptConfig; readonly tokenizer: Tokenizer }> {
  const text = await readFile(join(folder, 'config.json'), 'utf8').catch((e: unknown) => {
    throw new FileError({ code: 'no-run', what: `${folder} holds no finished run`, details: { missing: join(folder, 'config.json') }, fix: 'give the folder that `npx meshwork train` named at its end', cause: e })
  })
  const config = parseConfig(text, join(folder, 'config.json'))
  return { config, tokenizer: await readTokenizer(join(folder, 'tokenizer.json')) }
}

function parseConfig(text: string, file: string): GptConfig {
  const bad = (why: string): FileError => new FileError({ code: 'config', what: `${file}: ${why}`, fix: 'train the run again' })
  let value: unknown
  try { value = JSON.parse(text) } catch { throw bad('is not JSON') }
  if (typeof value !== 'object' || value === null) throw bad('is not an object')
  const fields = value as { readonly [field: string]: unknown }
  const number = (field: string): number => {
    const v = fields[field]
    if (typeof v !== 'number' || !Number.isSafeInteger(v) || v < 1) throw bad(`"${field}" is no whole number of at least 1`)
    return v
  }
  return {
    vocab: number('vocab'), seq: number('seq'), layers: number('layers'), embed: number('embed'), heads: number('heads'),
    headDim: number('headDim'), hidden: number('hidden'), dropout: 0,
  }
}

/** Loads a run's weights onto a mesh and compiles its model for generation. */
export async function openGenerator(folder: string, { backend, mesh: axes, precision, weights: bits, ...layouts }: GeneratorOptions): Promise<Generator> {
  const { config, tokenizer } = await readRunFolder(folder)
  const mesh = meshOf(axes)
  // Every device group that splits the batch gets a window of its own; only the first is read.
  const rows = mesh.size
  const model = gpt(config, rows, precision)
  const position = input('position', [], 'i32')
  // Every device gets all logits of its window: one is enough to draw from.
  const next = (params: GptWeights, tokens: GptBatch['tokens'], at: Scalar) => model.next(params, tokens, at).relayout({}).cast('f32')
  const { processes } = backend
  const uses: LayoutNames = model.layouts
  const where = { ...layouts, uses, mesh, backend, dims: model.dims }
  /** The file's arrays, under the paths of a tree of placements. */
  const load = async <T extends Tree>(placements: Placements<T>): Promise<Arrays<T>> => {
    const wanted = placementTrees.flatten(placements).map(({ path, leaf }) => ({ path, value: leaf }))
    return placementTrees.rebuild(placements, await loadWeights(join(folder, 'model.safetensors'), wanted, backend, mesh)) as Arrays<T>
  }
  const program = await compile(next, [bits === undefined ? model.params : quantizedInputs(model, weightBits[bits]), model.batch.tokens, position] as const, where)
  const weights = bits === undefined ? await load<GptWeights>(program.placements[0]) : await quantizedWeights()
  /** Loaded whole, and made small on the devices. */
  async function quantizedWeights(): Promise<Arrays<GptWeights>> {
    const quantize = await compile((params: GptParams) => mapTree(model.quantized(params, weightBits[bits ?? 'int8']), p => p.relayout('params')), [model.params] as const, where)
    const whole = await load<GptParams>(quantize.placements[0])
    try {
      return await quantize(whole)
    } finally {
      free(whole)
      quantize.dispose()
    }
  }

  async function* generate({ prompt, tokens, temperature, seed, signal }: GenerateOptions): AsyncGenerator<string> {
    const ids = [...tokenizer.encode(prompt)]
    const text = tokenizer.stream()
    for (let i = 0; i < tokens; i++) {
      const window = ids.slice(-config.seq)
      const filled: Source = ({ starts: [, column = 0], sizes: [count = 0, length = 0] }) => {
        const part = new Int32Array(count * length)
        for (let row = 0; row < count; row++) part.set(window.slice(column, column + length), row * length)
        return part
      }
      if (await anyOf(processes, 'whether to stop', signal?.aborted === true)) break
      const logits = await program(weights, filled, Math.max(0, window.length - 1)) as MeshArray
      const values = await logits.read()
      logits.dispose()
      // Drawn once: on another kind of machine the last bits of the logits may differ.
      const token = await fromFirst(processes, 'the next token', async () => {
        const candidates = values.subarray(0, tokenizer.vocab) as Float32Array
        if (!canDraw(candidates)) throw await notFinite(candidates, i, folder, weights)
        return sampleToken(candidates, temperature, seed, i)
      })
      if (token === tokenizer.endOfText) break
      ids.push(token)
      const piece = text.push(token)
      if (piece !== '') yield piece
    }
    const rest = text.end()
    if (rest !== '') yield rest
  }
  return {
    generate,
    dispose() {
      free(weights)
      program.dispose()
    },
  }
}

/** Nothing can be drawn from logits of which one is NaN or infinitely likely, or all are impossible. */
const canDraw = (logits: Float32Array): boolean => logits.every(x => x < Infinity) && logits.some(x => x > -Infinity)

/** What is wrong with the model, looked for only now: weights that are not finite, or a computation that leaves its dtype's range. */
async function notFinite(logits: Float32Array, step: number, folder: string, weights: Arrays<GptWeights>): Promise<FileError> {
  const bad = logits.filter(x => !(x < Infinity)).length
  const counts: string[] = []
  for (const { path, leaf: array } of arrays.flatten(weights)) {
    let [odd, all] = [0, 0]
    for await (const { data } of array.ownParts()) {
      for (const x of numbersOf(data, array.dtype)) if (!Number.isFinite(Number(x))) odd++
      all += data.length
    }
    if (odd > 0) counts.push(`${path} ${odd} of ${all}`)
  }
  const shown = counts.length > 4 ? [...counts.slice(0, 4), `${counts.length - 4} more`] : counts
  return new FileError({
    code: 'not-finite', what: `${folder}: ${bad === 0 ? 'no token is possible' : `the model gives NaN or infinity for ${bad} of ${logits.length} tokens`} at token ${step + 1}: no text can be drawn`,
    details: { weights: shown.length === 0 ? 'all finite' : `not finite: ${shown.join(', ')}` },
    fix: shown.length === 0 ? 'the numbers leave the range of precision.compute: train it again with another, f32 or bf16' : 'the run diverged: train it again with a lower optimizer.rate',
  })
}

const arrays = treeOps((x): x is MeshArray => x instanceof MeshArray, 'an array')
const free = (tree: unknown): void => { for (const { leaf } of arrays.flatten(tree)) leaf.dispose() }

/** The arguments that stand for quantized weights. */
const quantizedInputs = (model: Gpt, how: Quantize): GptWeights => mapTree(model.quantized(model.params, how), (leaf, path) => param(path, leaf.shape, leaf.dtype))
