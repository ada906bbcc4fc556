/** Long short-term memory (Hochreiter and Schmidhuber 1997; with forget gates, Gers et al. 2000): one step, and a scanned sequence. */
import type { Dim } from '../core/dim.ts'
import { sumsIn } from '../graph/half-precision.ts'
import { index } from '../graph/rearrange.ts'
import { scan } from '../graph/scan.ts'
import { full, loose, tensor, where } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor } from '../graph/types.ts'

/** The dims of an LSTM's weights. */
export interface LstmDims<I extends string, H extends string, R extends string, G extends string> {
  readonly inputs: Dim<I>
  readonly hidden: Dim<H>
  /** As long as `hidden`, under another name: the hidden state of the step before. */
  readonly past: Dim<R>
  /** Of size 4: input, forget, candidate and output gate, in PyTorch's order. */
  readonly gates: Dim<G>
}
export type LstmWeights<I extends string, H extends string, R extends string, G extends string> = {
  readonly input: Tensor<I | G | H>
  readonly past: Tensor<R | G | H>
  readonly bias: Tensor<G | H>
}
/** What goes from one step to the next. The cell is f32 where x is a half, as it is a sum. */
export type LstmState<D extends string> = { readonly hidden: Tensor<D>; readonly cell: Tensor<D> }

type T = Tensor<string>
type State = LstmState<string>
type Names = { readonly [N in 'inputs' | 'hidden' | 'past' | 'gates']: Dim }

/** `driven` is x · input + bias. c′ = σ(f) c + σ(i) tanh(g), h′ = σ(o) tanh(c′). */
function step(driven: T, { hidden, cell }: State, w: { readonly past: AnyTensor }, d: Names): State {
  const z = driven.add(hidden.rename(d.hidden.name, d.past.name as never).dot(loose(w.past), d.past.name)).cast(sumsIn(driven.dtype))
  const [i, f, g, o] = [0, 1, 2, 3].map(k => loose(index(z, d.gates.name, k))) as [T, T, T, T]
  const next = f.sigmoid().mul(cell).add(i.sigmoid().mul(g.tanh()))
  return { hidden: o.sigmoid().mul(next.tanh()).cast(hidden.dtype), cell: next }
}
const drivenBy = (x: T, w: { readonly input: AnyTensor; readonly bias: AnyTensor }, d: Names): T => x.dot(loose(w.input), d.inputs.name).add(loose(w.bias))

/** One step: x and the state before, to the state after, whose `hidden` is the output. */
export function lstmCell<D extends string, I extends D, H extends string, R extends string, G extends string>(
  x: Tensor<D>, state: LstmState<NoInfer<Minus<D, I> | H>>, w: NoInfer<LstmWeights<I, H, R, G>>, d: LstmDims<I, H, R, G>,
): LstmState<Minus<D, I> | H> {
  const { hidden, cell } = step(drivenBy(loose(x), w, d), { hidden: loose(state.hidden), cell: loose(state.cell) }, w, d)
  return { hidden: tensor(hidden.node), cell: tensor(cell.node) }
}

export interface LstmOptions<D extends string, S extends string> {
  /** The state before the first step; zeros unless said. */
  readonly state?: LstmState<S>
  /** Which steps there are (bools, along time and some of x's other dims): the others leave the state as it is, as padding should. */
  readonly mask?: Tensor<D>
  /** Walks from the end to the beginning. */
  readonly reverse?: boolean
}

/**
 * An LSTM along a dim of x: what it gives at each step, and the last state. The inputs of all steps meet their weights in one contraction,
 * the loop over time has only what depends on the step before.
 * @throws DimError when x lacks a dim, or a weight has others
 */
export function lstm<D extends string, N extends D, I extends D, H extends string, R extends string, G extends string>(
  x: Tensor<D>, time: Dim<N>, w: NoInfer<LstmWeights<I, H, R, G>>, d: LstmDims<I, H, R, G>,
  { state, mask, reverse = false }: LstmOptions<NoInfer<Minus<D, I>>, NoInfer<Minus<D, N | I> | H>> = {},
): { readonly output: Tensor<Minus<D, I> | H>; readonly state: LstmState<Minus<D, N | I> | H> } {
  const shape: readonly Dim[] = [...(x.shape as readonly Dim[]).filter(e => e.name !== time.name && e.name !== d.inputs.name), d.hidden]
  const zeros = (dtype: typeof x.dtype): T => loose(full(0, shape as readonly Dim<never>[], dtype))
  const first: State = state === undefined ? { hidden: zeros(x.dtype), cell: zeros(sumsIn(x.dtype)) } : { hidden: loose(state.hidden), cell: loose(state.cell) }
  const walked: { readonly driven: T; readonly there: readonly T[] } = { driven: drivenBy(loose(x), w, d), there: mask === undefined ? [] : [loose(mask)] }
  const [last, out] = scan<string, State, typeof walked, { readonly hidden: T }>(time, first, walked, (before, { driven, there: [there] }) => {
    const after = step(loose(driven), before, w, d)
    const next = there === undefined ? after : { hidden: where(there, after.hidden, before.hidden), cell: where(there, after.cell, before.cell) }
    return [next, { hidden: next.hidden }]
  }, { reverse })
  return { output: tensor(out.hidden.node), state: { hidden: tensor(last.hidden.node), cell: tensor(last.cell.node) } }
}
