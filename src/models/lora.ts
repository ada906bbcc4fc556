/** A model whose weights stay as they are, and of whose linear layers changes of low rank are learned (LoRA; Hu et al. 2021). */
import { dim, type Dim } from '../core/dim.ts'
import type { LayoutNames } from '../core/layout.ts'
import { UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { endPattern } from '../core/pattern.ts'
import { freezeParams, initialisers, param } from '../graph/param.ts'
import { leavesOf, loose, mapTree } from '../graph/tensor.ts'
import type { Tensor, Tree } from '../graph/types.ts'
import { isWritingModel, type WritingModel } from './language.ts'
import type { Model } from './model.ts'

export interface LoraOptions {
  /** r of the paper. */
  readonly rank: number
  /** α: the change counts α / r times; twice the rank unless said. */
  readonly alpha?: number | undefined
  /** Which linear layers: ends of their paths, with `*` for any characters, such as `query`; all unless said. */
  readonly on?: readonly string[] | undefined
}
/** A change: `down` contracts what the weight does, `up` has what it gives. */
export type Adapter = { readonly down: Tensor<string>; readonly up: Tensor<string> }
export type Adapters = { readonly [path: string]: Adapter }
/** The weights of before, frozen, and the changes by the weights' paths: several sets of changes may be used with one base. */
export type LoraParams<P extends Tree> = { readonly base: P; readonly lora: Adapters }
export type LoraModel<P extends Tree, B extends Tree, D extends string, L extends LayoutNames> = Model<LoraParams<P>, B, D | 'rank', L> & {
  /** The weights with the changes added to them, in their own dtypes. */
  readonly merged: (params: LoraParams<P>) => P
}

/** The paths of the linear layers that patterns mean. @throws UsageError where a pattern means none, or the model says of no layer that it is linear */
export function adaptedPaths(linear: { readonly [path: string]: readonly string[] } | undefined, on: readonly string[] = ['*']): string[] {
  const paths = Object.keys(linear ?? {})
  if (paths.length === 0) throw new UsageError({ code: 'not-linear', what: 'the model does not say which of its layers are linear, so none can be adapted', fix: 'let the model have `linear`: of each weight the dims that are contracted' })
  const idle = on.find(pattern => !paths.some(p => endPattern(pattern).test(p)))
  if (idle !== undefined) throw new UsageError({ code: 'no-such-layer', what: `lora: no linear layer is called "${idle}"`, fix: didYouMean(idle, paths.map(p => p.split('.').at(-1) ?? p)) })
  return paths.filter(p => on.some(pattern => endPattern(pattern).test(p)))
}

/**
 * The model with adapters on its linear layers. At first they change nothing: `up` is 0, and `down` uniform within 1 / √inputs, as `peft` draws it. The factors are f32.
 * @throws UsageError as `adaptedPaths`
 */
export function withLora<P extends Tree, B extends Tree, D extends string, L extends LayoutNames>(model: Model<P, B, D, L>, { rank: size, alpha = 2 * size, on }: LoraOptions): LoraModel<P, B, D, L> {
  const rank = dim('rank', size)
  const weights = new Map(leavesOf(model.params).map(l => [l.path, l.leaf]))
  const lora: Adapters = Object.fromEntries(adaptedPaths(model.linear, on).map(path => {
    const shape: readonly Dim[] = weights.get(path)?.shape ?? []
    const over = new Set(model.linear?.[path])
    const inputs = shape.filter(d => over.has(d.name))
    const [stacked, given] = [shape.filter(d => d.name === 'layers'), shape.filter(d => !over.has(d.name) && d.name !== 'layers')]
    const bound = 1 / Math.sqrt(inputs.reduce((n, d) => n * d.size, 1))
    // In the order in which other tools' files have them.
    const declared = (name: string, dims: readonly Dim[], init: Parameters<typeof param>[2]): Tensor<string> => loose(param(`${path}.${name}`, dims as readonly Dim<never>[], init))
    return [path, { down: declared('down', [...stacked, rank, ...inputs], { init: initialisers.uniform(-bound, bound) }), up: declared('up', [...stacked, ...given, rank], { init: 0 }) }]
  }))
  const adapted = (params: LoraParams<P>): P => replaced(params.base, path => {
    const own = params.lora[path]
    return own === undefined ? undefined : { down: own.down, up: own.up.mul(alpha / size) }
  })
  const { logits, settled: _, ...rest } = model
  // What else there is of some models that is given the weights.
  const others = { ...throughWeights(model, adapted), ...(isWritingModel(model) ? { quantized: halves(model), ...encoderOf(model, adapted) } : {}) }
  return {
    ...rest, ...others,
    dims: { ...model.dims, rank } as LoraModel<P, B, D, L>['dims'],
    params: { base: freezeParams(model.params), lora },
    // The weights of before stay as they are, what a model keeps of batches too.
    loss: (params, batch, key) => { const { updates: __, ...outcome } = model.loss(adapted(params), batch, key); return outcome },
    ...(logits === undefined ? {} : { logits: (params: LoraParams<P>, batch: B) => logits(adapted(params), batch) }),
    merged: ({ base, lora: changes }) => mapTree(base, (w, path) => {
      const change = changes[path]
      return change === undefined ? w : w.cast('f32').add(change.down.dot(change.up.mul(alpha / size), 'rank')).cast(w.dtype)
    }),
  }
}

/** What a model may give beside its logits: what its layers end with, vectors of texts, tokens whose earlier ones are kept and the logits behind them. */
const given = ['states', 'vectors', 'extend', 'head'] as const
function throughWeights<P extends Tree>(model: object, adapted: (params: LoraParams<P>) => P): { readonly [name: string]: (params: LoraParams<P>, ...rest: readonly unknown[]) => unknown } {
  const makers = Object.entries(model as { readonly [name: string]: (params: P, ...rest: readonly unknown[]) => unknown }).filter(([name]) => (given as readonly string[]).includes(name))
  return Object.fromEntries(makers.map(([name, make]) => [name, (params: LoraParams<P>, ...rest: readonly unknown[]) => make(adapted(params), ...rest)]))
}
function encoderOf<P extends Tree>({ encoder }: WritingModel, adapted: (params: LoraParams<P>) => P): Pick<WritingModel, 'encoder'> {
  return encoder === undefined ? {} : { encoder: { ...encoder, read: (params, ...rest) => encoder.read(adapted(params as unknown as LoraParams<P>), ...rest) } }
}
/** Only the weights are held in few bits. */
const halves = ({ quantized }: WritingModel): WritingModel['quantized'] => (params, how) => { const { base, lora } = params as unknown as LoraParams<Tree>; return { base: quantized(base, how), lora } }

/** A tree of weights with what is adapted in place of some: a linear layer takes either. */
export function replaced<P>(tree: P, change: (path: string) => (Adapter & { readonly of?: Tensor<string> }) | undefined, path = ''): P {
  const at = (key: string): string => (path === '' ? key : `${path}.${key}`)
  if (typeof tree !== 'object' || tree === null) return tree
  // Weights of few bits are trees themselves.
  const own = change(path)
  if (own !== undefined) return { base: tree, ...own } as P
  if ('node' in tree) return tree
  if (Array.isArray(tree)) return tree.map((t: unknown, i) => replaced(t, change, at(String(i)))) as P
  return Object.fromEntries(Object.entries(tree).map(([k, t]) => [k, replaced(t as unknown, change, at(k))])) as P
}
