/** What a trainer needs to know of a model. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { LayoutNames } from '../core/layout.ts'
import type { Outcome, Updates } from '../graph/outcome.ts'
import type { Key } from '../graph/random.ts'
import type { AnyTensor, Tree } from '../graph/types.ts'

/** What weights rest in, and what they and activations are computed with. What is summed of half-precision numbers is f32, whatever these are. */
export interface Precision { readonly params: DType; readonly compute: DType }
export const inFull: Precision = { params: 'f32', compute: 'f32' }

/** How the stages of a pipeline take turns: what a plan says of it. */
export interface PipelineSchedule {
  readonly schedule: string
  readonly stages: number
  readonly microbatches: number
  /** Which share of a step a stage has nothing to do, where each forward takes as long as each backward. */
  readonly idle: number
}

/** The dims of a model by their names. */
export type ModelDims<D extends string = string> = { readonly [N in D]: Dim<N> }

/** A model: P are its parameters, B is a batch, D the names of the dims that layouts lay, L the layouts that it names, none unless said. */
export interface Model<P extends Tree, B extends Tree, D extends string = string, L extends LayoutNames = LayoutNames<never>> {
  /** The parameters, as a program's arguments: each declares what it is at first, and whether weight decay applies to it. */
  readonly params: P
  /** A batch, as a program's arguments. Examples lie along the dim `batch`. */
  readonly batch: B
  /** Every dim that a layout may have a rule for. */
  readonly dims: ModelDims<D>
  /** The layouts that it names, and what each starts from where a recipe does not say. */
  readonly layouts?: L
  /** Examples in a batch: windows of text, images, pairs of sequences. */
  readonly itemsPerBatch: number
  /** A target, or label, of this does not count; where it is not said all count. */
  readonly ignored?: number
  /** Tokens in a batch, of what consists of tokens: speeds are told by them. */
  readonly tokensPerBatch?: number
  /**
   * The mean loss of a batch, over how many it is, and other means; with a key, as in training, dropout and all. Where some of a batch does
   * not count the weight must be said: losses and gradients of microbatches, devices and batches are joined by it (`weightedMean` gives both).
   */
  readonly loss: (params: P, batch: B, key?: Key) => Outcome
  /** The new values of parameters that are no gradient's, of what the loss gives as `updates`: of a step's microbatches their mean. Those themselves unless said. */
  readonly settled?: (params: P, updates: Updates) => Updates
  /** Its linear layers: of each weight, by its path, the dims that are contracted. What is adapted, or held in few bits, is chosen among them. */
  readonly linear?: { readonly [path: string]: readonly string[] }
  /** Where its layers are stages of a pipeline, how these take turns. */
  readonly pipeline?: PipelineSchedule
  /** What the loss is made of, before it is compared with what is wanted. */
  readonly logits?: (params: P, batch: B) => AnyTensor
}

/** Some model, of whatever it is made and takes. */
export type AnyModel = Pick<Model<Tree, Tree, string, LayoutNames>, 'params' | 'batch' | 'dims' | 'layouts' | 'itemsPerBatch' | 'tokensPerBatch' | 'ignored' | 'linear' | 'pipeline'> & { readonly loss: (params: never, batch: never, key?: Key) => Outcome }
