/** The public door. Layers are in `meshwork/nn`, optimizers in `meshwork/optim`, models, data and training under their names. */
export {
  argsort, bernoulli, broadcast, categorical, collectives, compile, concat, cummax, cummin, cumprod, cumsum, decaysOf, dim, dims, dropout,
  dynamicSlice, dynamicUpdate, einsum, expectDims, exponential, fold, fp8, freezeParams, full, grad, gumbel, index, initialise, initialisers, input, iota, keyOf, layout, mapTree,
  median, mesh, MeshArray, normal, nth, oneHot, openBackend, pad, param, parts, permutation, place, plan, print, printLocal, randomBits,
  randomIntegers, reverse, roll, scan, scatter, shift, slice, slot, sort, sortWith, splitKey, stack, stored, topK, totals, truncatedNormal, uniform,
  unstack, valueAndGrad, where, zipTrees, type AnyTensor, type Arrays, type Backend, type BackendOptions, type Collective,
  type CompileOptions, type Cumulative, type Dim, type DimLike, type DimsOf, type Given, type GradOptions, type Initialiser, type Key, type Layout,
  type LayoutFrom, type LayoutNames, type Layouts, type LocalGraph, type MemoryStats, type Mesh, type Minus, type Order, type ParamOptions, type Placement, type Placements, type Plan, type Program, type Range, type Remat,
  type Role, type Scalar, type Tensor, type Tree, type UniformRange, type Unsettled,
} from './engine/index.ts'
/** Control flow. */
export { accumulate, cond, lossAndGrads, named, remat, vjp, whileLoop, withGradient, type Cotangent, type LossAndGrads, type Metric, type Outcome, type ScanOptions, type Weighted } from './engine/index.ts'
export { DataError, DimError, FileError, LayoutError, MeshworkError, PluginError, UsageError, type Problem, type Site } from './core/errors.ts'
export type { DType, TypedArray } from './core/dtype.ts'
