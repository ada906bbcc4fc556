/** Tensors: the methods a model is written with, each a node or a short composition of nodes. */
import { formatShape, nameOf, names, sizeOf, type Dim, type DimLike } from '../core/dim.ts'
import { isFloat, type DType } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import type { Layout } from '../core/layout.ts'
import { inOrderOf, treeOps } from '../core/tree.ts'
import { floorDiv, mod } from './division.ts'
import { isNearly } from './extremum.ts'
import * as functions from './functions.ts'
import { dotNode, inSums, sumNode } from './half-precision.ts'
import { broadcastTo, constantNode, fullNode, make, splatValue } from './make.ts'
import { agree, dimIn, floats } from './infer/checks.ts'
import { dtypeOf, shapeOf, type Node } from './node.ts'
import type { BinaryFn, Direction, ReduceKind, UnaryFn } from './ops.ts'
import { userSite } from '../core/site.ts'
import type { AnyTensor, Distinct, Nested, Tensor, Tree } from './types.ts'

const contains = (outer: readonly Dim[], inner: readonly Dim[]): boolean => inner.every(d => outer.some(e => e.name === d.name))

const sizesDiffer = (a: readonly Dim[], b: readonly Dim[]): boolean => a.some(d => b.some(e => e.name === d.name && e.size !== d.size))

/** Both operands at one shape: that of the side whose dims contain the other's. */
export function aligned(what: string, left: Node, right: Node): readonly [Node, Node] {
  const [l, r] = [shapeOf(left), shapeOf(right)]
  if (sizesDiffer(l, r)) agree(l, r, what, userSite)
  if (contains(l, r)) return [left, broadcastTo(right, l)]
  if (contains(r, l)) return [broadcastTo(left, r), right]
  throw new DimError({
    code: 'no-broadcast', what: `${what}: neither side contains the other`, at: userSite(),
    details: { left: formatShape(l), right: formatShape(r) },
    fix: 'broadcast one side to the dims of both, or rename a dim',
  })
}

/** @throws DimError for what is no tensor: not every program is checked by the compiler. */
function nodeOf(x: AnyTensor | undefined): Node {
  if (x?.node !== undefined) return x.node
  throw new DimError({ code: 'not-a-tensor', what: `${shown(x)} is given for a tensor`, fix: 'make it one: input(), param(), full()', at: userSite() })
}

type Other = AnyTensor | number
type Dims = readonly DimLike<string>[]

class TensorOfNode implements Methods<Tensor<string>> {
  readonly node: Node
  constructor(node: Node) { this.node = node }
  get shape(): readonly Dim[] { return shapeOf(this.node) }
  get dtype(): DType { return dtypeOf(this.node) }

  #unary(fn: UnaryFn): Tensor<string> { return tensor(make('unary', [this.node], { fn })) }
  #other(other: Other): Node { return typeof other === 'number' ? constantNode(other, this.dtype) : nodeOf(other) }
  #binary(fn: BinaryFn, other: Other): Tensor<string> { return tensor(make('binary', aligned(fn, this.node, this.#other(other)), { fn })) }
  #compare(direction: Direction, other: Other): Tensor<string> {
    return tensor(make('compare', aligned('compare', this.node, this.#other(other)), { direction }))
  }
  #over(over: Dims, op: string): string[] { return over.length === 0 ? names(this.shape) : [...new Set(over.map(d => dimIn(this.shape, d, op, userSite).name))] }
  #reduce(kind: ReduceKind, over: Dims): Tensor<string> { return tensor(make('reduce', [this.node], { kind, over: this.#over(over, kind) })) }
  /** What sums: half precision goes through f32. */
  #inSums(f: (x: Tensor<string>) => Tensor<string>): Tensor<string> { return tensor(inSums([this.node], ([x = this.node]) => f(tensor(x)).node)) }

  add(other: Other): Tensor<string> { return this.#binary('add', other) }
  sub(other: Other): Tensor<string> { return this.#binary('sub', other) }
  mul(other: Other): Tensor<string> { return this.#binary('mul', other) }
  div(other: Other): Tensor<string> { return this.#binary('div', other) }
  pow(other: Other): Tensor<string> { return this.#binary('pow', other) }
  maximum(other: Other): Tensor<string> { return this.#binary('max', other) }
  minimum(other: Other): Tensor<string> { return this.#binary('min', other) }
  rem(other: Other): Tensor<string> { return this.#binary('rem', other) }
  mod(other: Other): Tensor<string> { return tensor(mod(...aligned('mod', this.node, this.#other(other)))) }
  floorDiv(other: Other): Tensor<string> { return tensor(floorDiv(...aligned('floorDiv', this.node, this.#other(other)))) }
  // Of a constant 1, XLA 0.10.2 to 0.11.2 makes an atan that is wrong from 50 elements on (jax issue 39352); of 2 it does not.
  atan2(other: Other): Tensor<string> {
    const ones = (typeof other === 'number' ? other : splatValue(nodeOf(other))) === 1
    return ones ? this.mul(2).atan2(typeof other === 'number' ? 2 : loose(other).mul(2)) : this.#binary('atan2', other)
  }
  and(other: Other): Tensor<string> { return this.#binary('and', other) }
  or(other: Other): Tensor<string> { return this.#binary('or', other) }
  xor(other: Other): Tensor<string> { return this.#binary('xor', other) }
  shiftLeft(other: Other): Tensor<string> { return this.#binary('shiftLeft', other) }
  shiftRight(other: Other): Tensor<string> { return this.#binary('shiftRight', other) }
  shiftRightArithmetic(other: Other): Tensor<string> { return this.#binary('shiftRightArithmetic', other) }
  notEqual(other: Other): Tensor<string> { return this.#compare('NE', other) }
  lessEqual(other: Other): Tensor<string> { return this.#compare('LE', other) }
  greater(other: Other): Tensor<string> { return this.#compare('GT', other) }
  clamp(low: number, high: number): Tensor<string> {
    if (!(low <= high)) throw new DimError({ code: 'range', what: `clamp: no numbers lie in [${low}, ${high}]`, fix: 'give the lower bound first', at: userSite() })
    return this.maximum(low).minimum(high)
  }
  equal(other: Other): Tensor<string> { return this.#compare('EQ', other) }
  less(other: Other): Tensor<string> { return this.#compare('LT', other) }
  greaterEqual(other: Other): Tensor<string> { return this.#compare('GE', other) }

  not(): Tensor<string> { return this.#unary('not') }
  popcount(): Tensor<string> { return this.#unary('popcount') }
  leadingZeros(): Tensor<string> { return this.#unary('leadingZeros') }
  sign(): Tensor<string> { return this.#unary('sign') }
  floor(): Tensor<string> { return this.#unary('floor') }
  ceil(): Tensor<string> { return this.#unary('ceil') }
  round(): Tensor<string> { return this.#unary('round') }
  isNaN(): Tensor<string> { return this.notEqual(this) }
  isFinite(): Tensor<string> {
    // XLA's CPU backend is several times faster at two comparisons than at |x| < ∞ or x − x = 0. Every integer is finite.
    return isFloat(this.dtype) ? this.less(Infinity).and(loose(this.greater(-Infinity))) : this.equal(this)
  }
  reciprocal(): Tensor<string> {
    floats('reciprocal', this.dtype, this.shape, userSite)
    return tensor<string>(fullNode(1, this.shape, this.dtype)).div(loose(this))
  }
  expm1(): Tensor<string> { return this.#unary('expm1') }
  log1p(): Tensor<string> { return this.#unary('log1p') }
  #composed(f: (x: Node) => Node, fn: string): Tensor<string> {
    floats(fn, this.dtype, this.shape, userSite)
    return tensor(f(this.node))
  }
  exp2(): Tensor<string> { return this.#composed(functions.exp2, 'exp2') }
  log2(): Tensor<string> { return this.#composed(functions.log2, 'log2') }
  log10(): Tensor<string> { return this.#composed(functions.log10, 'log10') }
  cbrt(): Tensor<string> { return this.#composed(functions.cbrt, 'cbrt') }
  tan(): Tensor<string> { return this.#unary('tan') }
  asin(): Tensor<string> { return this.#composed(functions.asin, 'asin') }
  acos(): Tensor<string> { return this.#composed(functions.acos, 'acos') }
  atan(): Tensor<string> { return this.#composed(functions.atan, 'atan') }
  sinh(): Tensor<string> { return this.#composed(functions.sinh, 'sinh') }
  cosh(): Tensor<string> { return this.#composed(functions.cosh, 'cosh') }
  asinh(): Tensor<string> { return this.#composed(functions.asinh, 'asinh') }
  acosh(): Tensor<string> { return this.#composed(functions.acosh, 'acosh') }
  atanh(): Tensor<string> { return this.#composed(functions.atanh, 'atanh') }
  erf(): Tensor<string> { return this.#unary('erf') }
  erfc(): Tensor<string> { return this.#unary('erfc') }
  erfInv(): Tensor<string> { return this.#unary('erfInv') }
  neg(): Tensor<string> { return this.#unary('neg') }
  exp(): Tensor<string> { return this.#unary('exp') }
  log(): Tensor<string> { return this.#unary('log') }
  tanh(): Tensor<string> { return this.#unary('tanh') }
  sqrt(): Tensor<string> { return this.#unary('sqrt') }
  rsqrt(): Tensor<string> { return this.#unary('rsqrt') }
  abs(): Tensor<string> { return this.#unary('abs') }
  sin(): Tensor<string> { return this.#unary('sin') }
  cos(): Tensor<string> { return this.#unary('cos') }
  /** XLA makes it of f16 by an exponential in f16, which from 11.1 on is infinite. */
  sigmoid(): Tensor<string> { return this.#inSums(x => tensor(make('unary', [x.node], { fn: 'logistic' }))) }
  square(): Tensor<string> { return this.mul(this) }
  relu(): Tensor<string> { return this.maximum(0) }
  cast(dtype: DType): Tensor<string> { return dtype === this.dtype ? tensor(this.node) : tensor(make('convert', [this.node], { dtype })) }

  sum(...over: Dims): Tensor<string> { return tensor(sumNode(this.node, this.#over(over, 'sum'))) }
  max(...over: Dims): Tensor<string> { return this.#reduce('max', over) }
  min(...over: Dims): Tensor<string> { return this.#reduce('min', over) }
  mean(...over: Dims): Tensor<string> {
    floats('mean', this.dtype, this.shape, userSite)
    const gone = new Set(this.#over(over, 'mean'))
    return this.#inSums(x => x.sum(...over).mul(1 / sizeOf(this.shape.filter(d => gone.has(d.name)))))
  }

  // One dim at a time: the gradient needs the products of what lies before and after along it.
  prod(...over: Dims): Tensor<string> {
    return this.#inSums(wide => this.#over(over, 'prod').reduce((x, dim) => tensor(make('reduce', [x.node], { kind: 'prod', over: [dim] })), wide))
  }
  any(...over: Dims): Tensor<string> { return this.cast('bool').max(...over) }
  all(...over: Dims): Tensor<string> { return this.cast('bool').min(...over) }
  #first(dim: string, best: Tensor<string>): Tensor<string> {
    const along = dimIn(this.shape, dim, 'argmax', userSite)
    // Where NaN is comes before where the extremum is: whether XLA's reductions keep a NaN depends on how they are vectorised.
    const places = loose(tensor(broadcastTo(make('iota', [], { dim: along }), this.shape)))
    const wide = loose(tensor(broadcastTo(best.node, this.shape)))
    const near = where(isNearly(loose(this), wide), places.add(2 * along.size), 3 * along.size)
    const hit = where(loose(this).equal(wide), places.add(along.size), near)
    return where(this.isNaN(), places, hit).min(dim).rem(along.size)
  }
  argmax(over: DimLike<string>): Tensor<string> { return this.#first(nameOf(over), this.max(nameOf(over))) }
  argmin(over: DimLike<string>): Tensor<string> { return this.#first(nameOf(over), this.min(nameOf(over))) }
  variance(...over: Dims): Tensor<string> { return this.#inSums(x => x.sub(x.mean(...over)).square().mean(...over)) }
  std(...over: Dims): Tensor<string> { return this.#inSums(x => tensor(functions.deviation(x.variance(...over).node, x.mean(...over).node))) }
  norm(...over: Dims): Tensor<string> { return this.#inSums(x => tensor(functions.norm(x.square().sum(...over).node))) }

  dot(other: AnyTensor, ...over: Dims): Tensor<string> { return tensor(dotNode(this.node, nodeOf(other), this.#both(other, over))) }
  #both(other: AnyTensor, over: Dims): string[] { return over.length === 0 ? [] : [...new Set(over.map(d => [this, other].map(t => dimIn(t.shape, d, 'dot', userSite).name)[0] ?? nameOf(d)))] }
  rename(from: DimLike<string>, to: DimLike<string>): Tensor<string> {
    return tensor(make('rename', [this.node], { from: nameOf(from), to: nameOf(to) }))
  }
  split(dim: DimLike<string>, into: readonly Dim[]): Tensor<string> { return tensor(make('splitDim', [this.node], { dim: nameOf(dim), into })) }
  merge(from: Dims, into: Dim): Tensor<string> { return tensor(make('mergeDims', [this.node], { from: from.map(nameOf), into })) }
  take(dim: DimLike<string>, indices: AnyTensor): Tensor<string> { return tensor(make('take', [this.node, nodeOf(indices)], { dim: nameOf(dim) })) }
  relayout(to: Layout | string, otherwise?: string): Tensor<string> { return tensor(make('relayout', [this.node], { to, ...(otherwise === undefined ? {} : { otherwise }) })) }
  stopGradient(): Tensor<string> { return tensor(make('stopGradient', [this.node], {})) }
}

// The class and the interface that users see list the same methods. `implements` finds what the class lacks, takes otherwise or returns
// otherwise; `Held` finds what only the class has, and what takes fewer parameters than the interface says.
/** An interface without its phantoms, the type parameters of its methods as wide as they may be. */
type Methods<T> = { readonly [K in keyof T as K extends `~${string}` ? never : K]:
  T[K] extends (...args: infer A extends readonly unknown[]) => infer R ? (...args: Loosened<A>) => R : T[K] }
type Loosened<A extends readonly unknown[]> = { [I in keyof A]: A[I] extends infer P ? (P extends AnyTensor ? AnyTensor : P) : never }
type Taken<F> = F extends (...args: infer A extends readonly unknown[]) => unknown ? A : F
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false
type Held<C, I> = { readonly [K in keyof C]: K extends keyof I ? (Same<Taken<C[K]>, Taken<I[K]>> extends true ? C[K] : never) : never }

/** The tensor of a node. The compiler believes the dims. */
export const tensor = <D extends string>(node: Node): Tensor<D> => new TensorOfNode(node) satisfies Held<TensorOfNode, Methods<Tensor<string>>> as unknown as Tensor<D>

/** Tells tensors apart from everything else, also those of another copy of Meshwork, which a recipe may have loaded. */
const brand = Symbol.for('meshwork.tensor')
Object.defineProperty(TensorOfNode.prototype, brand, { value: true })
export const isTensor = (x: unknown): x is AnyTensor => typeof x === 'object' && x !== null && brand in x
/** A tensor whose dims the compiler forgets: every name is accepted, run-time checks decide. */
export const loose = (x: AnyTensor): Tensor<string> => tensor(x.node)

const trees = treeOps(isTensor, 'a tensor')
export const leavesOf = (tree: Tree): { readonly path: string; readonly leaf: AnyTensor }[] => trees.flatten(tree)
/** A tree of the same form, each tensor replaced by one of the same dims. */
export const mapTree = <T extends Tree>(tree: T, f: (leaf: Tensor<string>, path: string) => AnyTensor): T =>
  trees.map(tree, (leaf, path) => tensor(nodeOf(f(loose(leaf), path)))) as T
export const rebuildTree = <T extends Tree>(tree: T, leaves: readonly AnyTensor[]): T => trees.rebuild(tree, leaves) as T

/** Two trees with the same keys, in any order, walked together; the result has the first one's. @throws DimError when their forms differ. */
export function zipTrees<T extends Tree>(a: T, b: NoInfer<T>, f: (a: Tensor<string>, b: Tensor<string>, path: string) => AnyTensor): T {
  const [left, others] = [leavesOf(a), leavesOf(b)]
  const right = inOrderOf(others, left.map(l => l.path))
  if (right === undefined) {
    throw new DimError({ code: 'tree-form', what: 'two trees of tensors have different forms', details: { left: left.map(l => l.path).join(' '), right: others.map(r => r.path).join(' ') }, fix: 'give trees with the same keys', at: userSite() })
  }
  return rebuildTree(a, left.map((l, i) => f(loose(l.leaf), loose((right[i] ?? l).leaf), l.path)))
}

/** A tensor of one value. */
export const full = <const S extends readonly Dim[]>(value: number, shape: S & Distinct<S>, dtype: DType = 'f32'): Tensor<S[number]['name']> =>
  tensor(fullNode(value, shape, dtype))
/** The global index along a dim, i32. */
export const iota = <N extends string>(dim: Dim<N>): Tensor<N> => tensor(make('iota', [], { dim }))
/** The tensor with more dims, the same along each of them. */
export const broadcast = <D extends string, const S extends readonly Dim[]>(x: Tensor<D>, shape: S & Distinct<S>): Tensor<D | S[number]['name']> =>
  tensor(broadcastTo(x.node, [...shape, ...x.shape.filter(d => !shape.some(e => e.name === d.name))]))
/** `yes` where the predicate holds, else `no`; what is not chosen leaks no NaN. */
export function where<P extends string, D extends string>(predicate: Tensor<P> & Nested<D, P>, yes: Tensor<D>, no: Tensor<NoInfer<D>> | number): Tensor<P | D> {
  const other = typeof no === 'number' ? constantNode(no, yes.dtype) : nodeOf(no)
  const [a, b] = aligned('where', nodeOf(yes), other)
  const [p, wide] = aligned('where', nodeOf(predicate), a)
  return tensor(make('select', [p, wide, broadcastTo(b, shapeOf(wide))], {}))
}
/** The way from unknown dims to known ones: checked at run time, believed by the compiler. */
export function expectDims<const S extends readonly Dim[]>(x: AnyTensor, shape: S): Tensor<S[number]['name']> {
  const same = x.shape.length === shape.length && shape.every(d => x.shape.some(e => e.name === d.name && e.size === d.size))
  if (!same) {
    throw new DimError({ code: 'unexpected-dims', what: 'the tensor has other dims than expected', details: { expected: formatShape(shape), found: formatShape(x.shape) }, fix: 'rename or reduce its dims', at: userSite() })
  }
  return tensor(broadcastTo(x.node, shape))
}
