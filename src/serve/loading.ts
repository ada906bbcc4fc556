/** A model's weights as they are served: whole, in few bits, or in those that a file has them in. */
import { broadcast, compile, input, loose, mapTree, param, plan, type Arrays, type Backend, type CompileOptions, type Mesh, type Placements, type Scalar, type Tree } from '../engine/index.ts'
import type { WritingModel, Quantize } from '../models/index.ts'
import { halvesKept, openKept } from './kept.ts'
import { free, loadParams, type Stored } from './weights.ts'

/** What weights become once they are loaded. */
export const weightBits: { readonly int8: Quantize; readonly int4: Quantize } = { int8: { bits: 8 }, int4: { bits: 4 } }
export type WeightBits = keyof typeof weightBits

export type Where = Omit<CompileOptions, 'donate'>
/** Weights on the devices, and the arguments of programs that stand for them. */
export interface Loaded { readonly params: Tree; readonly weights: Arrays<Tree> }

/**
 * Loads weights onto a mesh. All processes call it. @param bits of the weights that are contracted; as the model has them unless said, those of 16 bits as the file does. `keep` leaves those of few bits as they are, exactly.
 * @throws FileError that names what the file lacks, UsageError where it has nothing to keep
 */
export async function loadWeights(stored: Stored, model: WritingModel, where: Where, bits: WeightBits | 'keep' | undefined): Promise<Loaded> {
  const { backend, mesh } = where
  const lies = (params: Tree): Placements<Tree> => plan((all: Tree) => mapTree(all, p => p.relayout('params')), [params] as const, where).placements[0]
  if (bits === 'keep') {
    await using kept = await openKept(stored.weights, model, stored.naming)
    return { params: kept.params, weights: await kept.load<Tree>(lies(kept.params), backend, mesh) }
  }
  if (bits === undefined) {
    // Without kernels that read them every step would make them whole.
    const params = await backend.kernels() ? await halvesKept(stored.weights, model, stored.naming) : model.params
    return { params, weights: await loadParams<Tree>(stored, lies(params), backend, mesh) }
  }
  const how = weightBits[bits]
  return { params: mapTree(model.quantized(model.params, how), (leaf, path) => param(path, leaf.shape, leaf.dtype)), weights: await quantizedWeights(stored, model, where, how, backend, mesh) }
}

/** Loaded whole, and made small on the devices. */
async function quantizedWeights(stored: Stored, model: WritingModel, where: Where, how: Quantize, backend: Backend, mesh: Mesh): Promise<Arrays<Tree>> {
  const quantize = await compile((all: Tree) => mapTree(model.quantized(all, how), p => p.relayout('params')), [model.params] as const, where)
  const whole = await loadParams<Tree>(stored, quantize.placements[0], backend, mesh)
  try {
    return await quantize(whole)
  } finally {
    free(whole)
    quantize.dispose()
  }
}

/** Zeros, laid as parameters of these shapes are. */
export async function zerosLike(params: Tree, where: Where): Promise<Arrays<Tree>> {
  const make = await compile((zero: Tree) => mapTree(params, p => loose(broadcast((zero as unknown as Scalar).cast(p.dtype), p.shape as never)).relayout('params')), [input('zero', [], 'f32') as Tree] as const, where)
  try { return await make(0 as never) as Arrays<Tree> } finally { make.dispose() }
}
