/** A small net of stacked layers, as a loop and as pipelines: with dropout, masks, weights that all layers share, and some that the ends share. */
import { compile, dims, dropout, fold, initialise, initialisers, input, iota, keyOf, lossAndGrads, mesh as meshOf, param, plan, scan, type Backend, type Layouts, type Outcome, type Plan, type Remat, type Scalar, type Tensor } from '../../src/index.ts'
import type { Dim } from '../../src/core/dim.ts'
import { layerNorm, weightedMean } from '../../src/nn/index.ts'
import { pipelineLoss, type LossOptions } from '../../src/parallel/index.ts'

type T = Tensor<string>
export interface Net {
  readonly dims: { readonly [name: string]: Dim }
  readonly loss: (how: LossOptions | undefined, remat?: Remat) => (p: Params, b: Batch) => Found
  readonly params: Params
  readonly batch: Batch
}
type Layer<L extends string> = { readonly gain: Tensor<L | 'embed'>; readonly bias: Tensor<L | 'embed'>; readonly up: Tensor<L | 'embed' | 'hidden'>; readonly down: Tensor<L | 'hidden' | 'embed'> }
export type Params = { readonly ends: Tensor<'embed'>; readonly shared: Tensor<'embed'>; readonly layers: Layer<'layers'> }
export type Batch = { readonly x: Tensor<'batch' | 'embed'>; readonly counts: Tensor<'batch'> }
type Found = { readonly value: Scalar; readonly weight: Scalar; readonly grads: Params; readonly error: Scalar }

/** What a block makes of its input before the norm; tests put in what breaks on numbers that no stage is given. */
export type Before = (x: Tensor<'batch' | 'embed'>) => Tensor<'batch' | 'embed'>

export function net({ layers, batch = 8, embed = 4, hidden = 8, rate = 0.3, before = x => x, each = false }: { readonly layers: number; /** Whether what enters is computed of each microbatch. */ readonly each?: boolean; readonly batch?: number; readonly embed?: number; readonly hidden?: number; readonly rate?: number; readonly before?: Before }): Net {
  const d = dims({ batch, embed, hidden, layers })
  const params: Params = {
    ends: param('ends', [d.embed], { init: initialisers.normal(1) }), shared: param('shared', [d.embed], { init: initialisers.normal(0.3) }),
    layers: {
      gain: param('gain', [d.layers, d.embed], { init: 1 }), bias: param('bias', [d.layers, d.embed], { init: 0 }),
      up: param('up', [d.layers, d.embed, d.hidden], { init: initialisers.normal(0.5) }), down: param('down', [d.layers, d.hidden, d.embed], { init: initialisers.normal(0.5) }),
    },
  }
  const inputs: Batch = { x: input('x', [d.batch, d.embed]), counts: input('counts', [d.batch], 'i32') }
  const loss = (how: LossOptions | undefined, remat: Remat = 'all-but-contractions') => (p: Params, { x, counts }: Batch): Found => {
    const key = keyOf(x.sum().mul(0).cast('i32'))
    const found = lossAndGrads((q: Params): Outcome => {
      const block = (x: Tensor<'batch' | 'embed'>, { w, index }: { readonly w: Layer<never>; readonly index: Scalar }): Tensor<'batch' | 'embed'> => {
        const h = layerNorm(before(x).add(q.shared), d.embed, w.gain, w.bias).dot(w.up, d.embed).relu().mul(counts.cast('f32').add(1))
        return x.add(dropout(fold(key, index), h, rate).dot(w.down, d.hidden))
      }
      // Each example counts as often as it says, some of them not at all.
      const end = (y: Tensor<'batch' | 'embed'>, { counts }: { readonly counts: Tensor<'batch'> }): Outcome => {
        const each = y.mul(q.ends).square().mean(d.embed).add(y.mul(q.shared).sum(d.embed))
        const { value, weight } = weightedMean(each, counts)
        return { loss: value, weight, metrics: { error: weightedMean(y.abs().mean(d.embed), counts.notEqual(0)) } }
      }
      // With dropout: a microbatch on its own is to drop what the whole batch does.
      const start = (): Tensor<'batch' | 'embed'> => dropout(fold(key, layers), x.mul(q.ends), rate / 2)
      const stacked = { w: q.layers, index: iota(d.layers) }
      return how === undefined ? end(scan(d.layers, start(), stacked, (x, layer) => [block(x, layer), {}] as const)[0], { counts })
        : pipelineLoss(d.layers, each ? start : start(), stacked, block, { counts }, end, how)
    }, { remat })(p)
    return { value: found.value, weight: found.weight, grads: found.grads, error: found.metrics['error']?.value ?? found.value }
  }
  return { dims: d, params, batch: inputs, loss }
}

export type Values = Readonly<Record<string, readonly number[]>>
const flat = async (tree: unknown, path: string, into: { [path: string]: readonly number[] }): Promise<void> => {
  if (typeof tree !== 'object' || tree === null) return
  if ('read' in tree) { into[path] = Array.from(await (tree as { read: () => Promise<ArrayLike<number>> }).read(), Number); return }
  for (const [key, value] of Object.entries(tree)) await flat(value, `${path}.${key}`, into)
}

export const examples = (batch: number, embed: number): { readonly x: Float32Array; readonly counts: Int32Array } =>
  ({ x: Float32Array.from({ length: batch * embed }, (_, i) => Math.sin(i + 1)), counts: Int32Array.from({ length: batch }, (_, i) => [2, 1, 0, 3][i % 4] ?? 0) })

/** Loss, weight, metric and every gradient, on a mesh. */
export async function valuesOf({ loss, params, batch }: Net, how: LossOptions | undefined, backend: Backend, mesh: { readonly [axis: string]: number } = {}, where: Layouts = { layout: {} }, remat?: Remat): Promise<Values> {
  const on = { mesh: meshOf(mesh), ...where, backend }
  const begin = await compile((seed: Scalar) => initialise(params, keyOf(seed)), [input('seed', [], 'i32')] as const, { ...on, layout: {}, params: {}, mesh: meshOf({}) })
  const first = await begin(1)
  const program = await compile(loss(how, remat), [params, batch] as const, on)
  const host = async (tree: unknown): Promise<unknown> => (typeof tree !== 'object' || tree === null ? tree : 'read' in tree ? await (tree as { read: () => Promise<unknown> }).read()
    : Object.fromEntries(await Promise.all(Object.entries(tree).map(async ([k, v]) => [k, await host(v)] as const))))
  const [rows, wide] = [batch.x.shape.find(d => d.name === 'batch')?.size ?? 0, batch.x.shape.find(d => d.name === 'embed')?.size ?? 0]
  const found = await program(await host(first) as never, examples(rows, wide) as never)
  const values: { [path: string]: readonly number[] } = {}
  await flat(found, '', values)
  program.dispose()
  begin.dispose()
  return values
}
export const planned = ({ loss, params, batch, dims: d }: Net, how: LossOptions | undefined, mesh: { readonly [axis: string]: number }, where: Layouts, remat?: Remat): Plan<readonly [Params, Batch]> =>
  plan(loss(how, remat), [params, batch] as const, { mesh: meshOf(mesh), ...where, dims: d })

/** The largest difference, of what the largest number of a tensor is. */
export function furthest(a: Values, b: Values): number {
  return Math.max(...Object.entries(a).map(([path, values]) => {
    const scale = Math.max(1e-3, ...values.map(Math.abs))
    return Math.max(...values.map((v, i) => { const d = Math.abs(v - (b[path]?.[i] ?? NaN)) / scale; return Number.isNaN(d) ? Infinity : d }))
  }))
}
export type { T }
