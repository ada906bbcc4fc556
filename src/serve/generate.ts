/** Text from a run's weights: one token at a time, on any mesh. */
import { FileError } from '../core/errors.ts'
import { numbersOf } from '../core/half-precision.ts'
import type { Tokenizer } from '../data/index.ts'
import { anyOf, compile, fromFirst, input, mapTree, mesh as meshOf, param, type Arrays, type Backend, type Layouts, type MeshArray, type Scalar, type Source, type Tree } from '../engine/index.ts'
import type { LanguageModel, Quantize } from '../models/index.ts'
import { openKept } from './kept.ts'
import { sampleToken } from './sample.ts'
import { arrayTrees, free, loadParams, type Stored } from './weights.ts'

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
  /** Bits of the weights that are contracted; as the run has them unless said. `keep` leaves those of few bits as the file has them, exactly. */
  readonly weights?: WeightBits | 'keep'
}
/** What weights become once they are loaded. */
export const weightBits: { readonly int8: Quantize; readonly int4: Quantize } = { int8: { bits: 8 }, int4: { bits: 4 } }
export type WeightBits = keyof typeof weightBits

/** What generates, as it lies on a disk. */
export interface Generating extends Stored {
  /** The model for so many windows at once. */
  readonly model: (rows: number) => LanguageModel
  readonly tokenizer: Tokenizer
}

/** Loads a run's weights onto a mesh and compiles its model for generation. */
export async function openGenerator({ weights: from, model: build, naming, tokenizer }: Generating, { backend, mesh: axes, weights: bits, ...layouts }: GeneratorOptions): Promise<Generator> {
  const mesh = meshOf(axes)
  // Every device group that splits the batch gets a window of its own; only the first is read.
  const rows = mesh.size
  const model = build(rows)
  const seq = model.dims['seq']?.size ?? 0
  const position = input('position', [], 'i32')
  // Every device gets all logits of its window: one is enough to draw from.
  const next = (params: Tree, tokens: LanguageModel['batch']['tokens'], at: Scalar) => model.next(params, tokens, at).relayout({}).cast('f32')
  const { processes } = backend
  const where = { ...layouts, ...(model.layouts === undefined ? {} : { uses: model.layouts }), mesh, backend, dims: model.dims }
  await using kept = bits === 'keep' ? await openKept(from, model, naming) : undefined
  const how = bits === undefined || bits === 'keep' ? undefined : weightBits[bits]
  const params = kept?.params ?? (how === undefined ? model.params : quantizedInputs(model, how))
  const program = await compile(next, [params, model.batch.tokens, position] as const, where)
  const weights = await (kept !== undefined ? kept.load<Tree>(program.placements[0], backend, mesh) : how === undefined ? loadParams<Tree>({ weights: from, naming }, program.placements[0], backend, mesh) : quantizedWeights(how))
  /** Loaded whole, and made small on the devices. */
  async function quantizedWeights(small: Quantize): Promise<Arrays<Tree>> {
    const quantize = await compile((all: Tree) => mapTree(model.quantized(all, small), p => p.relayout('params')), [model.params] as const, where)
    const whole = await loadParams<Tree>({ weights: from, naming }, quantize.placements[0], backend, mesh)
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
      const window = ids.slice(-seq)
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
        if (!canDraw(candidates)) throw await notFinite(candidates, i, from, weights)
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
async function notFinite(logits: Float32Array, step: number, from: string, weights: Arrays<Tree>): Promise<FileError> {
  const bad = logits.filter(x => !(x < Infinity)).length
  const counts: string[] = []
  for (const { path, leaf: array } of arrayTrees.flatten(weights)) {
    let [odd, all] = [0, 0]
    for await (const { data } of array.ownParts()) {
      for (const x of numbersOf(data, array.dtype)) if (!Number.isFinite(Number(x))) odd++
      all += data.length
    }
    if (odd > 0) counts.push(`${path} ${odd} of ${all}`)
  }
  const shown = counts.length > 4 ? [...counts.slice(0, 4), `${counts.length - 4} more`] : counts
  return new FileError({
    code: 'not-finite', what: `${from}: ${bad === 0 ? 'no token is possible' : `the model gives NaN or infinity for ${bad} of ${logits.length} tokens`} at token ${step + 1}: no text can be drawn`,
    details: { weights: shown.length === 0 ? 'all finite' : `not finite: ${shown.join(', ')}` },
    fix: shown.length === 0 ? 'the numbers leave the range of precision.compute: train it again with another, f32 or bf16' : 'the run diverged: train it again with a lower optimizer.rate',
  })
}

/** The arguments that stand for quantized weights. */
const quantizedInputs = (model: LanguageModel, how: Quantize): Tree => mapTree(model.quantized(model.params, how), (leaf, path) => param(path, leaf.shape, leaf.dtype))
