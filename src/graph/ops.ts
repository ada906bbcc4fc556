/** The one list of ops. A new op is one line here; the compiler then names every table that lacks it. */
import type { Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import type { Layout } from '../core/layout.ts'
import type { NodeOf, TensorType } from './language.ts'

export type UnaryFn =
  | 'neg' | 'exp' | 'expm1' | 'log' | 'log1p' | 'tanh' | 'sqrt' | 'rsqrt' | 'cbrt' | 'abs' | 'sign' | 'sin' | 'cos' | 'tan' | 'logistic' | 'erf' | 'erfc' | 'erfInv'
  | 'floor' | 'ceil' | 'round' | 'not' | 'popcount' | 'leadingZeros'
export type BinaryFn =
  | 'add' | 'sub' | 'mul' | 'div' | 'rem' | 'max' | 'min' | 'pow' | 'atan2' | 'and' | 'or' | 'xor' | 'shiftLeft' | 'shiftRight' | 'shiftRightArithmetic'
export type Direction = 'EQ' | 'NE' | 'LT' | 'LE' | 'GT' | 'GE'
export type ScatterKind = 'set' | 'add' | 'max' | 'min'
export type CumulativeKind = ReduceKind
export type ReduceKind = 'sum' | 'prod' | 'max' | 'min'

/** A node of the global language. */
export type Node<K extends keyof Attrs = keyof Attrs> = NodeOf<Attrs, K>

/** A graph closed over its inputs: a whole program, or the body of a loop. */
export interface Graph { readonly inputs: readonly Node<'input'>[]; readonly outputs: readonly Node[] }

/** Cotangents of a function's inputs (undefined: none flows) from its result's. Its identity is part of the node. */
export type Vjp = (cotangent: Node, result: Node, inputs: readonly Node[]) => readonly (Node | undefined)[]

/** What a parameter is declared with beside its name, dims and dtype. At first it is one number everywhere, or what the two words of a key give. */
export interface Declaration { readonly init?: number | ((key: readonly [Node, Node]) => Node); readonly decays: boolean; readonly frozen?: true }

/** Values from outside or out of nothing, and what changes only how a value is seen. */
export interface BasicAttrs {
  /** A value given from outside, which rests in the layout that `role` names; `serial` keeps two inputs of one name apart. Parameters are `declared`. */
  input: { readonly name: string; readonly role: string; readonly serial: number; readonly type: TensorType; readonly declared?: Declaration }
  constant: { readonly value: number; readonly dtype: DType }
  /** The global index along `dim`, i32. */
  iota: { readonly dim: Dim }
  /** To exactly this shape, which has all the operand's dims, in any order. */
  broadcast: { readonly shape: readonly Dim[] }
  rename: { readonly from: string; readonly to: string }
  /**
   * The same numbers, laid out by these rules or by the layout of this name; it starts from `otherwise`, where that is given and nothing else is said. `parts`: what asks for it, and
   * how many parts it takes of some dims: what devices hold must be as many of them each. With `keepsSums` addends of which that layout splits no more are left addends.
   * Where other dims have rules for the axes of `first`, they leave them to it.
   */
  relayout: { readonly to: Layout | string; readonly otherwise?: string; readonly parts?: { readonly by: string; readonly of: { readonly [dim: string]: number } }; readonly keepsSums?: true; readonly first?: string }
  stopGradient: Empty
  /** The same tensor, by a name that policies of recomputation know. */
  named: { readonly name: string }
  /** The same tensor, in the memory of the host or of the device, where the platform tells them apart. */
  stored: { readonly in: 'host' | 'device' }
  /** (result, inputs…): the result, whose cotangent goes to the inputs through `vjp`; `elementwise` says that it does so element by element, `costly` that to compute the result again costs collectives. */
  customGradient: { readonly vjp: Vjp; readonly elementwise?: true; readonly costly?: true }
}

/** Ops take operands of one shape, dims in the same order: `broadcast` makes them so. */
export interface ElementwiseAttrs {
  unary: { readonly fn: UnaryFn }
  binary: { readonly fn: BinaryFn }
  compare: { readonly direction: Direction }
  /** (predicate, where true, where false). */
  select: Empty
  convert: { readonly dtype: DType }
  /** (key0, key1, counter0, counter1), u32: the first word of Threefry-2x32 with 20 rounds. */
  threefry: Empty
}

/** What sums over dims. */
export interface ContractionAttrs {
  /**
   * Contracts `over`, multiplies elementwise along every other shared dim. Dims: shared, left's own, right's own. `each` is a dim that both have because the same is computed
   * many times over, as in each stage of a pipeline: it says nothing of what is contracted.
   */
  dot: { readonly over: readonly string[]; readonly each?: string }
  reduce: { readonly kind: ReduceKind; readonly over: readonly string[] }
}

/** What moves elements to places known beforehand. */
export interface RearrangingAttrs {
  /** One dim as several, row-major: the first of `into` is the major one. If `into` is empty, the dim, of size 1, disappears. */
  splitDim: { readonly dim: string; readonly into: readonly Dim[] }
  /** Several dims as one, the first of `from` the major one, standing where that stood. If `from` is empty, a new dim of size 1 appears. */
  mergeDims: { readonly from: readonly string[]; readonly into: Dim }
  /**
   * result[j] = xd[start + j·step] along `dim`, `xd` being the operand with `dilation` − 1 gaps between its elements; `fill`
   * in the gaps and outside. Slices, strides, padding and shifts, and the gradients of all these: it is its own transpose.
   */
  resample: { readonly dim: string; readonly to: Dim; readonly start: number; readonly step: number; readonly dilation: number; readonly fill: number }
  /** result[j] = x[(j − by) mod n] along `dim`. */
  roll: { readonly dim: string; readonly by: number }
  reverse: { readonly dim: string }
  /** The operands one after another along `dim`, whose size is the sum of theirs. Their other dims are in one order. */
  concat: { readonly dim: Dim }
}

/** What moves elements to places that are computed. */
export interface IndexingAttrs {
  /** (table, indices): rows of `dim` at the indices, clamped into range. Dims: the indices', then the table's others; shared ones go elementwise. */
  take: { readonly dim: string }
  /**
   * (target, indices, updates): the target with the updates written at the indices of `dim`; those out of range are dropped. Dims
   * that the target and the indices share go elementwise. With `set`, of several updates for one element the last counts, in the
   * row-major order of the indices.
   */
  scatter: { readonly dim: string; readonly kind: ScatterKind }
  /** (x, start): as many elements of `dim` as `to` has, from `start` on, an i32 scalar, moved so far that all lie inside. */
  dynamicSlice: { readonly dim: string; readonly to: Dim }
  /** (x, update, start): x with the update in the place of as many elements of `dim`, from `start` on as `dynamicSlice` has it. */
  dynamicUpdate: { readonly dim: string }
  /** (keys, others…), all of one shape: sorted along `dim` by the keys, equal ones in their order, NaN as the largest. A result each. */
  sort: { readonly dim: string; readonly descending: boolean }
  /** The largest elements along `dim`, as many as `to` has, and where they were (i32); equal ones in their order. */
  topK: { readonly dim: string; readonly to: Dim }
  /** The sum, product or extremum of all elements up to each one, from the other end if `reverse`. */
  cumulative: { readonly kind: CumulativeKind; readonly dim: string; readonly reverse: boolean }
  /** (indices, updates): zeros with the updates added at the indices along the new `dim`; those out of range are dropped. */
  scatterAdd: { readonly dim: Dim }
}

/** A window that slides along dim `x` of the left operand; dim `w` of the right one says what each of its elements weighs. */
export interface Window {
  readonly x: string
  readonly w: string
  /** The places of the window, which replace `x`. */
  readonly out: Dim
  /** From one place to the next. */
  readonly stride: number
  /** How far before the first element the first window begins; may be negative. */
  readonly low: number
  /** From one element of x, or of w, to the next; in the gaps are zeros. */
  readonly xDilation: number
  readonly wDilation: number
}

/** What sees a window of neighbours. */
export interface WindowAttrs {
  /**
   * (x, w): `dot` with windows. Contracts `over` and the windows, result[s] = Σₖ xd[s·stride + k·wDilation − low] · w[k], where
   * `xd` is x with its gaps, zero outside; multiplies elementwise along every other shared dim (channel groups). Its gradients
   * are again such ops. Dims: x's own and, in place of x's, the windows' `out`; shared; w's own.
   */
  conv: { readonly over: readonly string[]; readonly windows: readonly Window[] }
}

/**
 * How often a choice of who is at work is taken: each place along the predicate's dim in a share of the runs, in the mean over places. A device that has several of them next to each other takes it in `more` runs, as a share, for each
 * further one. `alone`: one place is, always the same, and what it makes is of no place; see `whereAlone`.
 */
export interface AtWork { readonly share: number; readonly more: number; readonly alone?: true }

/** Loops, and what they return. */
export interface ControlAttrs {
  /**
   * (carries…, xs…, captures…) → (carries…, ys…): the body along `over`; see `scan`. A loop that `keepsCollectives` computes again
   * what another one has computed, but for what a collective brought: that is kept.
   */
  scan: { readonly over: Dim; readonly body: Graph; readonly carries: number; readonly xs: number; readonly reverse: boolean; readonly keepsCollectives?: true }
  /**
   * (predicate, captures…) → the results of the branch that the predicate, bools, chooses: `yes` where any of them holds. Both have the captures as
   * inputs. A predicate that has dims chooses element by element along them, as `yes` itself says: so devices that hold none that holds need not compute it.
   */
  /** `atWork` says in which share of its runs an element of the predicate holds: see `whereAtWork`. Its gradient takes what a policy keeps from the branch as it was computed, as that of a loop does; of others the branch is computed again. */
  cond: { readonly yes: Graph; readonly no: Graph; readonly atWork?: AtWork }
  /** (carries…, captures…) → carries…: the body for as long as the condition, of the same inputs, gives true. */
  while: { readonly condition: Graph; readonly body: Graph; readonly carries: number }
  /** (inputs…) → the body's results; for the gradient only what `keep` says is kept. Put in its place before partition. */
  recompute: { readonly body: Graph; readonly keep: ((n: Node) => boolean) & { readonly offloads?: (n: Node) => boolean } }
  /** The operands, all of them there before any is used. */
  barrier: Empty
  /** One result of an op with several. */
  project: { readonly index: number }
}

/** Op → its attributes. */
export interface Attrs extends BasicAttrs, ElementwiseAttrs, ContractionAttrs, RearrangingAttrs, IndexingAttrs, WindowAttrs, ControlAttrs {}
type Empty = Readonly<Record<never, never>>
