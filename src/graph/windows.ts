/** What each dim of a convolution is for: inference, gradients, layouts and the emitter ask alike. */
import { names, type Dim } from '../core/dim.ts'
import type { WindowAttrs } from './ops.ts'

export interface ConvDims {
  /** Dims that only x has. */
  readonly batch: readonly Dim[]
  /** Dims that both operands have and that are not contracted: each group of channels has weights of its own. */
  readonly groups: readonly Dim[]
  /** Dims that both operands have and that are contracted. */
  readonly over: readonly Dim[]
  /** Dims that only w has. */
  readonly features: readonly Dim[]
}

export function convDims({ over, windows }: WindowAttrs['conv'], x: readonly Dim[], w: readonly Dim[]): ConvDims {
  const ownX = x.filter(d => !windows.some(v => v.x === d.name))
  const ownW = w.filter(d => !windows.some(v => v.w === d.name))
  const [inX, inW] = [new Set(names(ownX)), new Set(names(ownW))]
  const shared = ownX.filter(d => inW.has(d.name))
  return {
    batch: ownX.filter(d => !inW.has(d.name)),
    groups: shared.filter(d => !over.includes(d.name)),
    over: shared.filter(d => over.includes(d.name)),
    features: ownW.filter(d => !inX.has(d.name)),
  }
}
