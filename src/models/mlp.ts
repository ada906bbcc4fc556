/** A perceptron with one hidden layer: the two-layer network of the Mesh-TensorFlow paper (Shazeer et al. 2018, section 3). */
import { dims } from '../core/dim.ts'
import { input, param } from '../graph/input.ts'
import { fold, normal } from '../graph/random.ts'
import { full, loose, mapTree } from '../graph/tensor.ts'
import type { Scalar, Tensor } from '../graph/types.ts'

export interface MlpConfig { readonly inputs: number; readonly hidden: number; readonly outputs: number }

/** y = relu(x · in + bias) · out, with a squared-error loss. */
export function mlp(config: MlpConfig, batch: number) {
  const d = dims({ batch, ...config })
  const params = {
    in: param('in', [d.inputs, d.hidden]), bias: param('bias', [d.hidden]), out: param('out', [d.hidden, d.outputs]),
  }
  type Params = typeof params
  const batchOf = { x: input('x', [d.batch, d.inputs]), y: input('y', [d.batch, d.outputs]) }
  const forward = (p: Params, x: Tensor<'batch' | 'inputs'>): Tensor<'batch' | 'outputs'> =>
    x.dot(p.in, d.inputs).add(p.bias).relu().dot(p.out, d.hidden)
  return {
    dims: d, params, batch: batchOf, tokensPerBatch: batch, forward,
    loss: (p: Params, { x, y }: typeof batchOf): Scalar => forward(p, x).sub(y).square().mean(),
    init: (key: Parameters<typeof fold>[0]): Params => {
      let draw = 0
      return mapTree(params, (p, path) => (path === 'bias' ? full(0, p.shape) : loose(normal(fold(key, draw++), p.shape)).mul(1 / Math.sqrt(p.shape[0]?.size ?? 1))))
    },
    decays: (path: string): boolean => path !== 'bias',
  }
}
