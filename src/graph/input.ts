/** Inputs: the tensors that a program is given from outside. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { make } from './make.ts'
import type { Node, TensorType } from './node.ts'
import type { Declaration } from './ops.ts'
import { tensor } from './tensor.ts'
import type { Distinct, Tensor } from './types.ts'

// Two inputs are never the same one, however alike: each takes a number of its own.
let serials = 0
export const inputNode = (name: string, role: string, type: TensorType, declared?: Declaration): Node<'input'> =>
  make('input', [], { name, role, serial: serials++, type, ...(declared === undefined ? {} : { declared }) })

/**
 * Data given to a program: a batch, a seed, a learning rate. What rests otherwise than activations lie, as a cache may, says in which
 * layout: it is given so, and moved where it is computed with unless it is used where it rests.
 */
export const input = <const S extends readonly Dim[]>(name: string, shape: S & Distinct<S>, dtype: DType = 'f32', layout = 'compute'): Tensor<S[number]['name']> =>
  tensor(inputNode(name, layout, { shape, dtype }))
/** A slot of an optimizer: laid out by the `state` rules. */
export const slot = <const S extends readonly Dim[]>(name: string, shape: S & Distinct<S>, dtype: DType = 'f32'): Tensor<S[number]['name']> =>
  tensor(inputNode(name, 'state', { shape, dtype }))
