/** What a trainer needs to know of a model. */
import type { Key } from '../graph/random.ts'
import type { Scalar, Tree } from '../graph/types.ts'

export interface Model<P extends Tree, B extends Tree> {
  /** The parameters, as a program's arguments. */
  readonly params: P
  /** A batch, as a program's arguments. */
  readonly batch: B
  readonly tokensPerBatch: number
  /** The mean loss of a batch; with a key, as in training, dropout and all. */
  readonly loss: (params: P, batch: B, key?: Key) => Scalar
  readonly init: (key: Key) => P
  /** Whether weight decay applies to the parameter at this path. */
  readonly decays: (path: string) => boolean
}
