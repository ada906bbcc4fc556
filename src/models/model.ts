/** What a trainer needs to know of a model. */
import type { DType } from '../core/dtype.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { Key } from '../graph/random.ts'
import type { Scalar, Tree } from '../graph/types.ts'

/** What weights rest in, and what they and activations are computed with. What is summed of half-precision numbers is f32, whatever these are. */
export interface Precision { readonly params: DType; readonly compute: DType }
export const inFull: Precision = { params: 'f32', compute: 'f32' }

export interface Model<P extends Tree, B extends Tree> {
  /** The parameters, as a program's arguments: each declares what it is at first, and whether weight decay applies to it. */
  readonly params: P
  /** A batch, as a program's arguments. */
  readonly batch: B
  readonly tokensPerBatch: number
  /** The layouts that it names, and what each starts from where a recipe does not say. */
  readonly layouts?: LayoutNames
  /** The mean loss of a batch; with a key, as in training, dropout and all. */
  readonly loss: (params: P, batch: B, key?: Key) => Scalar
}
