/** Models as rows of tokens go through them to be measured: what is asked of each row is computed on the devices, and is all that comes back. */
import type { Dim } from '../core/dim.ts'
import type { LayoutNames } from '../core/layout.ts'
import { input } from '../graph/input.ts'
import { iota, loose, where } from '../graph/tensor.ts'
import type { AnyTensor, Tree } from '../graph/types.ts'
import { crossEntropy } from '../nn/functional.ts'
import { ignored } from './class-outcome.ts'
import type { EmbeddingModel } from './embedding.ts'
import { isLanguageModel } from './language.ts'
import type { AnyModel } from './model.ts'

/** A target of nothing. */
export const noTarget: number = ignored
/** What there may be in a batch, each [batch, seq]. */
export interface RowInputs { readonly tokens: AnyTensor; readonly mask?: AnyTensor; readonly targets?: AnyTensor; readonly types?: AnyTensor }
/** A model for so many rows of one length. */
export interface RowModel {
  readonly params: Tree
  readonly dims: { readonly [name: string]: Dim }
  readonly layouts?: LayoutNames
  readonly inputs: RowInputs
  /** What is wanted of the rows, with the dims in which it is read: `batch` is the first. */
  readonly output: (params: Tree, inputs: RowInputs) => { readonly tensor: AnyTensor; readonly dims: readonly Dim[] }
}

type Made = Pick<AnyModel, 'params' | 'dims' | 'layouts' | 'batch'> & { readonly logits?: (params: Tree, given: object) => AnyTensor }
const partsOf = (model: AnyModel | EmbeddingModel): Pick<RowModel, 'params' | 'dims' | 'layouts'> & { readonly batch: RowInputs } => {
  const { params, dims, layouts, batch } = model as Made
  return { params, dims, ...(layouts === undefined ? {} : { layouts }), batch: batch as unknown as RowInputs }
}
const named = (dims: RowModel['dims'], ...names: readonly string[]): Dim[] => names.flatMap(name => dims[name] ?? [])
const readBy = ({ tokens, mask, types }: RowInputs): RowInputs => ({ tokens, ...(mask === undefined ? {} : { mask }), ...(types === undefined ? {} : { types }) })

/** Whether a model finds masked tokens: it has logits of each place, sees all of them, and says which are padding. */
export const isMaskedModel = (model: AnyModel): boolean => !isLanguageModel(model) && 'logits' in model && 'mask' in (model.batch as object) && 'vocab' in model.dims && 'targets' in (model.batch as object)

/**
 * log softmax(logits)[target] of each place, in f32, 0 where there is no target: batch seq. Of a decoder the target of a place is what comes next; of a model that finds masked tokens,
 * what stands there. Undefined where a model is neither. With `vocab` split no device holds all logits.
 */
export function logProbabilityRows(model: AnyModel): RowModel | undefined {
  const { batch, ...common } = partsOf(model)
  const { logits } = model as Made
  if (logits === undefined || !(isLanguageModel(model) || isMaskedModel(model))) return undefined
  const dims = named(common.dims, 'batch', 'seq')
  const targets = input('targets', dims as never, 'i32') as unknown as AnyTensor
  return {
    ...common, inputs: { ...readBy(batch), targets },
    output: (p, { targets: wanted, ...given }) => ({ tensor: crossEntropy<string, string>(loose(logits(p, given)), 'vocab', loose(wanted as AnyTensor), { ignore: ignored }).neg(), dims }),
  }
}

/** The likeliest token behind each place, of the first `vocab`: batch seq, i32. Undefined where a model does not tell the next token. */
export function likeliestRows(model: AnyModel, vocab: number): RowModel | undefined {
  const { batch, ...common } = partsOf(model)
  const { logits } = model as Made
  const all = common.dims['vocab']
  if (logits === undefined || all === undefined || !isLanguageModel(model)) return undefined
  return {
    ...common, inputs: readBy(batch),
    output: (p, given) => {
      const found = loose(logits(p, given)).cast('f32')
      return { tensor: (vocab < all.size ? where(iota(all).less(vocab), found, -Infinity) : found).argmax(all.name), dims: named(common.dims, 'batch', 'seq') }
    },
  }
}

/** The logits of the classes of each row: batch classes. Undefined where a model tells none of texts. */
export function classRows(model: AnyModel): RowModel | undefined {
  const { batch, ...common } = partsOf(model)
  const { logits } = model as Made
  if (logits === undefined || !('classes' in common.dims) || !('tokens' in batch)) return undefined
  return { ...common, inputs: readBy(batch), output: (p, given) => ({ tensor: loose(logits(p, given)).cast('f32'), dims: named(common.dims, 'batch', 'classes') }) }
}

/** The vector of each row: batch embed. */
export function vectorRows(model: EmbeddingModel): RowModel {
  const { batch, ...common } = partsOf(model)
  return { ...common, inputs: readBy(batch), output: (p, inputs) => ({ tensor: loose(model.vectors(p, inputs as EmbeddingModel['batch'])).cast('f32'), dims: named(common.dims, 'batch', 'embed') }) }
}
