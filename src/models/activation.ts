/** The functions of a feed-forward net, by their names in configurations. */
import type { Tensor } from '../graph/types.ts'
import { gelu, geluExact, relu, silu } from '../nn/activations.ts'

export type Activation = 'geluExact' | 'gelu' | 'relu' | 'silu'
export const activations: { readonly [A in Activation]: <D extends string>(x: Tensor<D>) => Tensor<D> } = { geluExact, gelu, relu, silu }
export const activationNames: readonly [Activation, ...Activation[]] = ['geluExact', 'gelu', 'relu', 'silu']
