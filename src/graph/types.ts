/** The types a user writes: tensors that know the set of their dim names, trees of them, and the compiler's messages. */
import type { Dim, DimLike } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Layout, Role } from '../core/layout.ts'
import type { Node } from './node.ts'

/** A tensor whose dims the compiler does not know. */
export interface AnyTensor {
  /** Ordered as it lies in memory; order means nothing else. */
  readonly shape: readonly Dim[]
  readonly dtype: DType
  readonly node: Node
}

/** A symbolic tensor over the dims D: neither fewer nor more dims will do, so D is invariant. */
export interface Tensor<in out D extends string> extends AnyTensor {
  // Phantoms, never set at run time. First, so that the compiler's elaboration stops here and stays short.
  readonly '~dims': D
  readonly '~has': { readonly [K in D]: true }

  add<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  sub<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  mul<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Of integers: cut towards zero, and all bits 1 where the divisor is 0. Integers wrap around; booleans are no numbers. */
  div<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Of integers to a power below 0: 0, but of ±1. */
  pow<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The larger of both, elementwise, NaN where either is; `max` reduces. */
  maximum<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  minimum<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The remainder with the sign of the dividend; of integers by 0, the dividend. */
  rem<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The remainder with the sign of the divisor, as NumPy's. */
  mod<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The quotient rounded down. */
  floorDiv<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The angle of the point (other, this), in (−π, π]. */
  atan2<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Of booleans, or bit by bit of integers. */
  and<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  or<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  xor<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Of integers. By the width or more, or by less than 0, a shift gives 0; `shiftRightArithmetic`, of signed ones, copies of the sign. */
  shiftLeft<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  shiftRight<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  shiftRightArithmetic<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  notEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  lessEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  greater<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  equal<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  less<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  greaterEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>

  /** Not below `low`, not above `high`. */
  clamp(low: number, high: number): Tensor<D>
  /** Of booleans, or bit by bit of integers. */
  not(): Tensor<D>
  /** Bits that are 1, of integers. */
  popcount(): Tensor<D>
  /** Zero bits above the highest 1. */
  leadingZeros(): Tensor<D>
  /** −1, 0 or 1; `abs` and it take what has a sign. */
  sign(): Tensor<D>
  floor(): Tensor<D>
  ceil(): Tensor<D>
  /** To the nearest whole number; of two, to the even one. */
  round(): Tensor<D>
  isNaN(): Tensor<D>
  isFinite(): Tensor<D>
  reciprocal(): Tensor<D>
  cbrt(): Tensor<D>
  /** eˣ − 1 and log(1 + x), exact near 0. */
  expm1(): Tensor<D>
  log1p(): Tensor<D>
  exp2(): Tensor<D>
  log2(): Tensor<D>
  log10(): Tensor<D>
  tan(): Tensor<D>
  asin(): Tensor<D>
  acos(): Tensor<D>
  atan(): Tensor<D>
  sinh(): Tensor<D>
  cosh(): Tensor<D>
  asinh(): Tensor<D>
  acosh(): Tensor<D>
  atanh(): Tensor<D>
  /** 2/√π ∫₀ˣ e^(−t²) dt, and its inverse. */
  erf(): Tensor<D>
  erfInv(): Tensor<D>
  neg(): Tensor<D>
  exp(): Tensor<D>
  log(): Tensor<D>
  tanh(): Tensor<D>
  sqrt(): Tensor<D>
  /** 1 / √x. */
  rsqrt(): Tensor<D>
  abs(): Tensor<D>
  sin(): Tensor<D>
  cos(): Tensor<D>
  /** 1 / (1 + e⁻ˣ). */
  sigmoid(): Tensor<D>
  square(): Tensor<D>
  /** max(x, 0). */
  relu(): Tensor<D>
  /** Floats become the nearest whole number of the type towards zero, NaN 0; wider integers lose their high bits. */
  cast(dtype: DType): Tensor<D>

  /** Reductions run over the dims named, or over all where none is. */
  sum<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  mean<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  max<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  min<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>

  prod<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** Whether any element, or every one, is not 0: bool. */
  any<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  all<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** Where the largest, or smallest, element of a dim is, i32: the first of equal ones; NaN counts as both. */
  argmax<R extends D>(over: DimLike<R>): Tensor<Minus<D, R>>
  argmin<R extends D>(over: DimLike<R>): Tensor<Minus<D, R>>
  /** The mean square distance from the mean, over all elements. */
  variance<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  std<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** √ Σ x². */
  norm<R extends D = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>

  /** Contract `over`, multiply elementwise along every other dim that both have. */
  dot<E extends string, R extends D & E = never>(other: Tensor<E>, ...over: readonly DimLike<R>[]): Tensor<Minus<D | E, R>>
  rename<From extends D, To extends string>(from: DimLike<From>, to: DimLike<To> & Fresh<To, Exclude<D, From>>): Tensor<Minus<D, From> | To>
  /** One dim as several, row-major: the first is the major one, so `[blocks, block]` cuts a dim into blocks. */
  split<R extends D, const Into extends readonly Dim[]>(dim: DimLike<R>, into: Into & Distinct<Into> & Fresh<Into[number]['name'], Exclude<D, R>>): Tensor<Minus<D, R> | Into[number]['name']>
  /** Several dims as one, the first the major one. */
  merge<R extends D, N extends string>(from: readonly DimLike<R>[], into: Dim<N> & Fresh<N, Exclude<D, R>>): Tensor<Minus<D, R> | N>
  /** Rows of `dim` at the indices (i32, clamped into range). */
  take<R extends D, E extends string>(dim: DimLike<R>, indices: Tensor<E>): Tensor<Minus<D, R> | E>

  /** The same numbers laid out otherwise from here on: by rules on its dims, or as tensors of a role are. */
  relayout(to: Layout<D> | Role): Tensor<D>
  /** The same numbers; no gradient flows back. */
  stopGradient(): Tensor<D>
}

export type Scalar = Tensor<never>
/** D without R; dims that are not known to the compiler stay unknown. */
export type Minus<D extends string, R extends string> = string extends D ? string : Exclude<D, R>
export type DimsOf<T> = T extends Tensor<infer D> ? D : never

/** Nothing is assignable to it, so the compiler prints it: the message, then the dims at fault. */
export interface DimError<Message extends string, At> { readonly '~error': Message; readonly '~at': At }

/** Broadcasting needs one side's dims to contain the other's. */
export type Operand<D extends string, E extends string> = number | (Tensor<E> & Nested<D, E>)
export type Nested<D extends string, E extends string> = [E] extends [D] ? unknown : [D] extends [E] ? unknown
  : DimError<'neither side contains the other: broadcast one explicitly', { onlyLeft: Exclude<D, E>; onlyRight: Exclude<E, D> }>

export type Fresh<N extends string, Taken extends string> =
  string extends Taken ? unknown : [N & Taken] extends [never] ? unknown : DimError<'the tensor already has this dim', N & Taken>

/** The dims listed twice; tail-recursive, so long shapes are fine. */
type Repeats<S extends readonly Dim[], Seen extends string = never, Found extends string = never> =
  S extends readonly [infer H extends Dim, ...infer T extends readonly Dim[]]
    ? Repeats<T, Seen | H['name'], H['name'] extends Seen ? Found | H['name'] : Found> : Found
export type Distinct<S extends readonly Dim[]> =
  string extends S[number]['name'] ? unknown : [Repeats<S>] extends [never] ? unknown : DimError<'this dim is listed twice', Repeats<S>>

/** A new name for a dim, which no other dim of the tensor may have. */
export interface As<N extends string, Taken extends string> { readonly as?: N & Fresh<N, Taken> }

/** Tensors in nested objects and arrays, as parameters come. */
export type Tree = AnyTensor | { readonly [k: string]: Tree } | readonly Tree[]
/** The tree's leaves without one dim, as a loop's body sees what it walks over. */
export type Without<T, N extends string> = Tree extends T ? Tree : T extends Tensor<infer D> ? Tensor<Minus<D, N>> : { [K in keyof T]: Without<T[K], N> }
/** The dims of all leaves of a tree. */
export type DimsIn<T> = Tree extends T ? string : T extends AnyTensor ? (T extends Tensor<infer D> ? D : string)
  : T extends readonly (infer E)[] ? DimsIn<E> : { [K in keyof T]: DimsIn<T[K]> }[keyof T]
/** The tree's leaves with one dim more, as a loop stacks what its body returns. */
export type With<T, N extends string> = Tree extends T ? Tree : T extends Tensor<infer D> ? Tensor<D | N> : { [K in keyof T]: With<T[K], N> }
