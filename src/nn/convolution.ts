/** Convolutions over any number of dims. */
import { nameOf, type Dim, type DimLike } from '../core/dim.ts'
import { DimError } from '../core/errors.ts'
import { dimIn } from '../graph/infer/checks.ts'
import { inSums } from '../graph/half-precision.ts'
import { make } from '../graph/make.ts'
import type { Node } from '../graph/node.ts'
import type { Window, WindowAttrs } from '../graph/ops.ts'
import { userSite } from '../core/site.ts'
import { tensor } from '../graph/tensor.ts'
import type { AnyTensor, Minus, Tensor } from '../graph/types.ts'
import { atLeast, margins, placesOf, type Named, type News, type Padding, type Renamed } from './window.ts'

/** One of a convolution's windows: it slides along `dim` of x, and `kernel` is the dim of w that holds its weights. */
export interface ConvWindow<D extends string = string, K extends string = string, N extends string = string> {
  readonly dim: DimLike<D>
  readonly kernel: DimLike<K>
  /** From one place of the window to the next; 1 unless said. */
  readonly stride?: number
  /** `valid` unless said. */
  readonly padding?: Padding
  /** From one element under the window to the next; 1 unless said. */
  readonly dilation?: number
  /** The result's name for the dim; the same unless said. A layout has rules by name. */
  readonly as?: N
}

type Kernels<W extends readonly ConvWindow[]> = Named<W[number]['kernel']>
/** The dims of a convolution's result. */
export type Convolved<D extends string, E extends string, R extends string, W extends readonly ConvWindow[]> =
  Minus<D | Exclude<E, Kernels<W>>, R | Renamed<W[number]>> | News<W[number]>

const convNode = (x: Node, w: Node, how: WindowAttrs['conv']): Node => inSums([x, w], ([l = x, r = w]) => make('conv', [l, r], how))

interface Asked { readonly x: Dim; readonly w: Dim; readonly stride: number; readonly dilation: number; readonly span: number; readonly padding: Padding; readonly as: string }

function asked(op: string, x: AnyTensor, w: AnyTensor, windows: readonly ConvWindow[] = []): Asked[] {
  if (windows.length === 0) throw new DimError({ code: 'window', what: `${op}: there are no windows`, fix: 'name a dim of x and one of w, or use dot', at: userSite() })
  const found = windows.map(({ dim, kernel, stride = 1, dilation = 1, padding = 'valid', as }): Asked => {
    const [a, b] = [dimIn(x.shape, dim, op, userSite), dimIn(w.shape, kernel, op, userSite)]
    atLeast(`${op} along "${a.name}": stride`, stride, 1, x.shape)
    atLeast(`${op} along "${a.name}": dilation`, dilation, 1, x.shape)
    return { x: a, w: b, stride, dilation, padding, span: (b.size - 1) * dilation + 1, as: as ?? a.name }
  })
  for (const side of ['x', 'w'] as const) {
    const twice = found.find((v, i) => found.findIndex(e => e[side].name === v[side].name) !== i)
    if (twice !== undefined) throw new DimError({ code: 'dim-twice', what: `${op}: two windows have the dim "${twice[side].name}"`, fix: 'name each dim of x and of w in one window', at: userSite() })
  }
  return found
}

/**
 * Convolution as networks have it (a correlation): result[…, s] = Σ x[s·stride + k·dilation − low] · w[k] over `over` and each
 * window's kernel dim. Dims of x alone are a batch, dims of w alone features. Dims of both that are not in `over` are groups,
 * each with weights of its own: without `over`, a depthwise convolution. A window's dim keeps its name, with a new size.
 *
 * Along a split dim a device gets of its neighbours just the elements that its windows reach into (a halo), where the blocks
 * of the result begin at the same elements as those of x: so `same` padding, or stride = kernel, with sizes that divide evenly.
 * @throws DimError when a dim is missing, sizes of shared dims differ, a window does not fit, or the result had a dim twice
 */
export function conv<D extends string, E extends string, const W extends readonly ConvWindow<D, E>[], R extends D & E = never>(
  x: Tensor<D>, w: Tensor<E>, { over = [], windows }: { readonly over?: readonly DimLike<R>[]; readonly windows: W },
): Tensor<Convolved<D, E, R, W>> {
  const slides = asked('conv', x, w, windows).map((v): Window => {
    const [low, high] = margins(v.padding, v.x.size, v.span, v.stride)
    const size = placesOf('conv', v.x, v.span, v.stride, [low, high])
    return { x: v.x.name, w: v.w.name, out: { name: v.as, size }, stride: v.stride, low, xDilation: 1, wDilation: v.dilation }
  })
  return tensor(convNode(x.node, w.node, { over: [...new Set<string>(over.map(nameOf))], windows: slides }))
}

/**
 * The transpose of `conv`, which spreads each element of x over a window: result[s·stride + k·dilation − low] += x[s] · w[k].
 * `same` gives size · stride elements, `valid` all that any window reaches (at least size · stride), [low, high] cuts off
 * as many: PyTorch's ConvTranspose with that padding, and JAX's conv_transpose with transpose_kernel. w needs no other order
 * of dims than `conv` does, as `over` names what is contracted.
 * @throws DimError as `conv`
 */
export function convTranspose<D extends string, E extends string, const W extends readonly ConvWindow<D, E>[], R extends D & E = never>(
  x: Tensor<D>, w: Tensor<E>, { over = [], windows }: { readonly over?: readonly DimLike<R>[]; readonly windows: W },
): Tensor<Convolved<D, E, R, W>> {
  const spread = asked('convTranspose', x, w, windows)
  const slides = spread.map((v): Window => {
    const beyond = Math.max(v.span - v.stride, 0)
    const [low, high] = v.padding === 'same' ? [Math.floor(beyond / 2), v.span - v.stride - Math.floor(beyond / 2)]
      : v.padding === 'valid' ? [0, Math.min(v.span - v.stride, 0)] : margins(v.padding, 0, 0, 1)
    const size = placesOf('convTranspose', { name: v.x.name, size: (v.x.size - 1) * v.stride + v.span }, 1, 1, [-low, -high])
    return { x: v.x.name, w: v.w.name, out: { name: v.as, size }, stride: 1, low: v.span - 1 - low, xDilation: v.stride, wDilation: v.dilation }
  })
  const turned = spread.reduce<Node>((n, v) => (v.w.size === 1 ? n : make('reverse', [n], { dim: v.w.name })), w.node)
  return tensor(convNode(x.node, turned, { over: [...new Set<string>(over.map(nameOf))], windows: slides }))
}
