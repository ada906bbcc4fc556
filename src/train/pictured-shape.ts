/** What a plan tells the page: plain data, whose types a browser's code may take. */

/** A tensor that a step is given, and how it lies. */
export interface TensorShown { readonly path: string; readonly dtype: string; readonly dims: { readonly [dim: string]: number }; readonly layout: { readonly [dim: string]: readonly string[] }; readonly bytes: number }

export interface PagePlan {
  readonly name: string
  /** The run's fields, as its folder has them. */
  readonly run: { readonly [field: string]: unknown }
  /** As `meshwork plan --json` prints it. */
  readonly plan: { readonly devices: number; readonly mesh: { readonly [axis: string]: number }; readonly perDevice: { readonly parameterBytes: number; readonly stateBytes: number; readonly activationBytes: number; readonly peakBytes: number; readonly flops: number } }
  /** Of the whole model. */
  readonly parameters: number
  readonly tensors: readonly TensorShown[]
}
