/** A layer of experts as GShard writes it (Lepikhin et al. 2020): tables of tokens × experts × places, and products with them. What `moe` finds by looking up. */
import { dims, input, mapTree, oneHot, param, cumsum, loose, type AnyTensor, type Dim, type Tensor } from '../../../src/engine/index.ts'
import { silu, type MoeDims, type MoeOptions, type MoeWeights } from '../../../src/nn/index.ts'
import type { Operand, T } from '../../graph/support.ts'
import { drawn, seedOf } from '../../support/values.ts'

export interface Sizes { readonly batch: number; readonly seq: number; readonly embed: number; readonly experts: number; readonly expertHidden: number }
export const activation = silu as (x: T) => T
/** Dims, weights and tokens of a layer. */
export function layerOf(sizes: Sizes, gated = true) {
  const d = dims({ ...sizes, routes: sizes.experts })
  const into = (name: string): Tensor<'experts' | 'expertHidden' | 'embed'> => param(name, [d.experts, d.expertHidden, d.embed], { init: 0.1 })
  const weights = {
    router: param('router', [d.routes, d.embed], { init: 0.1 }), bias: param('bias', [d.routes], { init: 0, frozen: true }),
    experts: { ...(gated ? { gate: into('gate') } : {}), up: into('up'), down: param('down', [d.experts, d.embed, d.expertHidden], { init: 0.1 }) },
  } satisfies MoeWeights
  const x = input('x', [d.batch, d.seq, d.embed])
  const moeDims: MoeDims = { ...d, tokens: d.seq }
  return { d, moeDims, weights, x }
}
export type Layer = ReturnType<typeof layerOf>
/** Numbers for tensors, by their names. */
export const operandsOf = (...tensors: readonly AnyTensor[]): Operand[] => tensors.map(t => ({ tensor: t as T, data: Array.from(drawn(t, seedOf(t.node.op === 'input' ? t.node.attrs.name : '')), Number) }))
export const dataOf = (tree: object): unknown => mapTree(tree as never, t => drawn(t as AnyTensor, seedOf((t as AnyTensor).node.op === 'input' ? ((t as AnyTensor).node as { attrs: { name: string } }).attrs.name : '')) as never)

/** `slots` of each expert in each line of tokens; without, all tokens. Scores are those of softmax, or of sigmoid with the bias for choosing. */
export function gshard(x: T, w: MoeWeights, { d }: Layer, { router: { chosen: k, renormalised = false, scale = 1, scores: kind = 'softmax' } }: Pick<MoeOptions, 'router'>, slots?: number): T {
  const logits = x.dot(loose(w.router), 'embed')
  const e = logits.sub(logits.max('routes').stopGradient()).exp()
  const scores = kind === 'softmax' ? e.div(e.sum('routes')) : logits.sigmoid()
  const routes = d.routes as Dim<string>
  let left = kind === 'sigmoid' && w.bias !== undefined ? scores.add(loose(w.bias)) : scores
  const masks: T[] = []
  for (let i = 0; i < k; i++) {
    const mask = loose(oneHot(left.argmax('routes'), routes as Dim<never>)) as T
    masks.push(mask)
    left = left.sub(mask.mul(1e6))
  }
  const gates = masks.map(m => loose(m.mul(scores).sum('routes')) as T)
  const total = gates.reduce((a, b) => a.add(b))
  let before: T | undefined
  const out = masks.map((mask, i) => {
    const rank = cumsum(mask, 'seq').sub(mask).add(before === undefined ? 0 : before)
    const sum = loose(mask.sum('seq')) as T
    before = before === undefined ? sum : before.add(sum)
    const kept = slots === undefined ? mask : mask.mul(rank.less(slots).cast('f32'))
    const gate = renormalised ? (gates[i] as T).div(total) : gates[i] as T
    const xs = kept.rename('routes', 'experts')
    const inner = loose(x).dot(loose(w.experts.up as T), 'embed')
    const hidden = w.experts.gate === undefined ? activation(inner) : activation(loose(x).dot(loose(w.experts.gate as T), 'embed')).mul(inner)
    return (hidden.dot(loose(w.experts.down as T), 'expertHidden') as T).mul(xs.mul(gate)).sum('experts') as T
  })
  return out.reduce((a, b) => a.add(b)).mul(scale)
}
