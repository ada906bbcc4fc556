/** The types a user writes: tensors that know the set of their dim names, trees of them, and the compiler's messages. */
import type { Dim, DimLike } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
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

  /** Ordered as it lies in memory; order means nothing else. */
  readonly shape: readonly Dim<NoInfer<D>>[]

  add<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  sub<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  mul<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Integers are divided towards zero, and give all bits 1 where the divisor is 0. Arithmetic on integers wraps around; booleans are refused. */
  div<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Of integers to a power below 0: 0, but of 1 and −1. They wrap around. */
  pow<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The larger of both, elementwise, NaN where either is; `max` reduces. */
  maximum<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  minimum<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The remainder with the sign of the dividend; of integers by 0, the dividend. */
  rem<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The remainder with the sign of the divisor, as NumPy's; of integers by 0, the dividend. */
  mod<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The quotient rounded down: a = b · (a // b) + a mod b, as NumPy has it; division by zero as `div`. It has no gradient. */
  floorDiv<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** The angle of the point (other, this), in (−π, π]. */
  atan2<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** Logical for booleans, bit by bit for integers. */
  and<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  or<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  xor<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  /** For integers. Shifted by their width or more, or by less than 0, they give 0; `shiftRightArithmetic` of signed ones gives copies of the sign bit. */
  shiftLeft<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  shiftRight<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  shiftRightArithmetic<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  notEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  lessEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  greater<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  equal<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  less<E extends string = never>(other: Operand<D, E>): Tensor<D | E>
  greaterEqual<E extends string = never>(other: Operand<D, E>): Tensor<D | E>

  /** The number itself, or `low` where it is below that, or `high` where it is above that. */
  clamp(low: number, high: number): Tensor<D>
  /** Logical for booleans, bit by bit for integers. */
  not(): Tensor<D>
  /** Bits that are 1, of integers. */
  popcount(): Tensor<D>
  /** Zero bits above the highest 1. */
  leadingZeros(): Tensor<D>
  /** −1, 0 or 1; `abs` and it take what has a sign. */
  sign(): Tensor<D>
  floor(): Tensor<D>
  ceil(): Tensor<D>
  /** To the nearest whole number; halfway between two of them, to the even one. */
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
  /** 2/√π ∫₀ˣ e^(−t²) dt, what it leaves of 1, and its inverse. */
  erf(): Tensor<D>
  erfc(): Tensor<D>
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
  /** Floats become the nearest whole number of the type towards zero, NaN 0; wider integers lose their high bits; what becomes a float is rounded once. */
  cast(dtype: DType): Tensor<D>

  /** Reductions run over the dims named, or over all where none is. */
  sum<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  mean<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  max<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  min<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>

  prod<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** Whether any element, or every one, is not 0: bool. */
  any<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  all<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** Where the largest, or smallest, element of a dim is, i32: the first of equal ones; NaN counts as both. */
  argmax<R extends D | Unsettled<D>>(over: DimLike<R>): Tensor<Minus<D, R>>
  argmin<R extends D | Unsettled<D>>(over: DimLike<R>): Tensor<Minus<D, R>>
  /** The mean square distance from the mean, over all elements. */
  variance<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  std<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>
  /** √ Σ x². */
  norm<R extends D | Unsettled<D> = D>(...over: readonly DimLike<R>[]): Tensor<Minus<D, R>>

  /** Contract `over`, multiply elementwise along every other dim that both have. */
  dot<E extends string, R extends (D & E) | Unsettled<D | E> = never>(other: Tensor<E>, ...over: readonly DimLike<R>[]): Tensor<Minus<D | E, R>>
  rename<From extends D | Unsettled<D>, To extends string>(from: DimLike<From>, to: DimLike<To> & Fresh<To, Exclude<D, From>>): Tensor<Minus<D, From> | To>
  /** One dim as several, row-major: the first is the major one, so `[blocks, block]` cuts a dim into blocks. */
  split<R extends D | Unsettled<D>, const Into extends readonly Dim[]>(dim: DimLike<R>, into: Into & Distinct<Into> & Fresh<Into[number]['name'], Exclude<D, R>>): Tensor<Minus<D, R> | Into[number]['name']>
  /** Several dims as one, the first the major one. */
  merge<R extends D | Unsettled<D>, N extends string>(from: readonly DimLike<R>[], into: Dim<N> & Fresh<N, Exclude<D, R>>): Tensor<Minus<D, R> | N>
  /** Rows of `dim` at the indices (i32, clamped into range). */
  take<R extends D | Unsettled<D>, E extends string>(dim: DimLike<R>, indices: Tensor<E>): Tensor<Minus<D, R> | E>

  /**
   * The same numbers laid out otherwise from here on: by rules on its dims, or by a layout that has a name: `compute`, `params`, `state`, or
   * one that the model names. What such a one means on a mesh is for a recipe to say; it is the layout `otherwise` where none does.
   */
  relayout(to: Layout<D> | string, otherwise?: string): Tensor<D>
  /** The same numbers; no gradient flows back. */
  stopGradient(): Tensor<D>
}

export type Scalar = Tensor<never>
/** D without R; names that the compiler does not know, `string`, stay unknown. */
export type Minus<D extends string, R extends string> = Exclude<D, Known<R>>
type Known<R extends string> = [Names<R>] extends [never] ? never : R
type Names<R extends string> = [R] extends [never] ? true : string extends R ? never : true

/**
 * Nothing where the names D are known, every name where they depend on type parameters: `R extends D | Unsettled<D>` asks for a dim of
 * D. In a function over tensors of any dims, D may be `Minus<D, R>` or so, of which nobody can say yet whether it has a name; there
 * every name will do, and the dims are checked when the function runs.
 *
 * How that is said. Where the compiler has a conditional type that it cannot decide yet and asks whether something fits, it asks it of
 * both branches, but leaves out the first where the condition fails for the widest instance of its type parameters. `[X] extends [never]`
 * fails there for every X that is not `never` then: so what is decided is the first branch or the second one, what is not is the second.
 */
export type Unsettled<D extends string> = [Widest<D>] extends [never] ? never : string
type Widest<D extends string> = [string] extends [D] ? true : never
export type DimsOf<T> = T extends Tensor<infer D> ? D : never

/** Nothing is assignable to it, so the compiler prints it: the message, then the dims at fault. */
export interface DimError<Message extends string, At> { readonly '~error': Message; readonly '~at': At }

/** Broadcasting needs one side's dims to contain the other's. */
export type Operand<D extends string, E extends string> = number | (Tensor<E> & Nested<D, E>)
export type Nested<D extends string, E extends string> = [Fits<D, E>] extends [never]
  ? DimError<'neither side contains the other: broadcast one explicitly', { onlyLeft: Exclude<D, E>; onlyRight: Exclude<E, D> }> : unknown
type Fits<D extends string, E extends string> = [E] extends [D] ? true : [D] extends [E] ? true : never

export type Fresh<N extends string, Taken extends string> = [Free<N, Taken>] extends [never] ? DimError<'the tensor already has this dim', N & Taken> : unknown
type Free<N extends string, Taken extends string> = [string] extends [Taken] ? true : [N & Taken] extends [never] ? true : never

/** D with the dim R under the name N: D itself where the name stays. */
export type Renamed<D extends string, R extends string, N extends string> = [N] extends [R] ? D : Minus<D, R> | N

/** The dims listed twice; tail-recursive, so long shapes are fine. */
type Repeats<S extends readonly Dim[], Seen extends string = never, Found extends string = never> =
  S extends readonly [infer H extends Dim, ...infer T extends readonly Dim[]]
    ? Repeats<T, Seen | H['name'], H['name'] extends Seen ? Found | H['name'] : Found> : Found
export type Distinct<S extends readonly Dim[]> =
  string extends S[number]['name'] ? unknown : [Once<Repeats<S>>] extends [never] ? DimError<'this dim is listed twice', Repeats<S>> : unknown
type Once<Repeated extends string> = [Repeated] extends [never] ? true : [string] extends [Repeated] ? true : never

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
