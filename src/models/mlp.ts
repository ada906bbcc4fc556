/** A perceptron with one hidden layer: the two-layer network of the Mesh-TensorFlow paper (Shazeer et al. 2018, section 3). */
import { dims, sizeOf, type Dim } from '../core/dim.ts'
import { input } from '../graph/input.ts'
import { initialisers, param } from '../graph/param.ts'
import { full } from '../graph/tensor.ts'
import type { Tensor } from '../graph/types.ts'
import type { Model } from './model.ts'

export interface MlpConfig { readonly inputs: number; readonly hidden: number; readonly outputs: number }

type MlpDims = { readonly [N in 'batch' | 'inputs' | 'hidden' | 'outputs']: Dim<N> }
export type MlpParams = { readonly in: Tensor<'inputs' | 'hidden'>; readonly bias: Tensor<'hidden'>; readonly out: Tensor<'hidden' | 'outputs'> }
export type MlpBatch = { readonly x: Tensor<'batch' | 'inputs'>; readonly y: Tensor<'batch' | 'outputs'> }
export type Mlp = Model<MlpParams, MlpBatch, keyof MlpDims> & {
  readonly dims: MlpDims
  readonly forward: (params: MlpParams, x: Tensor<'batch' | 'inputs'>) => Tensor<'batch' | 'outputs'>
}

/** y = relu(x · in + bias) · out, with a squared-error loss. */
export function mlp(config: MlpConfig, batch: number): Mlp {
  const d = dims({ batch, ...config })
  const params: MlpParams = {
    in: param('in', [d.inputs, d.hidden], { init: initialisers.lecunNormal([d.inputs]), decays: true }),
    bias: param('bias', [d.hidden], { init: 0 }),
    out: param('out', [d.hidden, d.outputs], { init: initialisers.lecunNormal([d.hidden]), decays: true }),
  }
  const batchOf: MlpBatch = { x: input('x', [d.batch, d.inputs]), y: input('y', [d.batch, d.outputs]) }
  const forward = (p: MlpParams, x: Tensor<'batch' | 'inputs'>): Tensor<'batch' | 'outputs'> =>
    x.dot(p.in, d.inputs).add(p.bias).relu().dot(p.out, d.hidden)
  return {
    dims: d, params, batch: batchOf, itemsPerBatch: batch, forward,
    loss: (p, { x, y }) => ({ loss: forward(p, x).sub(y).square().mean(), weight: full(sizeOf(y.shape), []) }),
  }
}
