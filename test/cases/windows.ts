/** Cases: windows. */
import { expectDims, grad, type Scalar } from '../../src/engine/index.ts'
import { conv, convTranspose, maxPool, meanPool, minPool, sumPool, type ConvWindow, type PoolWindow } from '../../src/nn/index.ts'
import { at, dimOf, type Case, type Dims, type T } from './case.ts'

type Along = readonly [dim: string, kernel: string, more?: Omit<ConvWindow, 'dim' | 'kernel'>]
const windowsOf = (d: Dims, along: readonly Along[]): ConvWindow[] =>
  along.map(([dim, kernel, more = {}]) => ({ dim: dimOf(d, dim), kernel: dimOf(d, kernel), ...more, ...(more.as === undefined ? {} : { as: `${dimOf(d, dim).name}${more.as}` }) }))
type Convolution = (x: T, w: T, options: { readonly over: readonly string[]; readonly windows: readonly ConvWindow[] }) => T
const by = (f: Convolution, over: readonly string[], ...along: readonly Along[]): Case['f'] => (x, d) =>
  f(at(x, 0), at(x, 1), { over: over.map(name => dimOf(d, name).name), windows: windowsOf(d, along) })

type Under = readonly [dim: string, size: number, more?: Omit<PoolWindow, 'dim' | 'size'>]
const under = (d: Dims, ...along: readonly Under[]): PoolWindow[] =>
  along.map(([dim, size, more = {}]) => ({ dim: dimOf(d, dim), size, ...more, ...(more.as === undefined ? {} : { as: `${dimOf(d, dim).name}${more.as}` }) }))

// Every way to split every dim is tried, so dims that a case is not about have sizes that nothing divides.
export const windows: readonly Case[] = [
  { name: 'conv', dims: { b: 2, n: 8, i: 3, o: 3, k: 3 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same' }]) },
  { name: 'conv of channels', dims: { b: 2, n: 5, i: 4, o: 2, k: 3 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same' }]) },
  { name: 'conv valid', dims: { b: 2, n: 8, i: 1, o: 3, k: 3 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k']) },
  { name: 'conv by steps', dims: { b: 2, n: 16, i: 2, o: 3, k: 5 }, in: ['n b i', 'i k o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same', stride: 2 }]) },
  { name: 'conv by steps that leave a rest', dims: { b: 2, n: 9, i: 2, o: 3, k: 3 }, in: ['b n i', 'k o i'], f: by(conv, ['i'], ['n', 'k', { padding: [1, 0], stride: 4 }]) },
  { name: 'conv by its own width', dims: { b: 2, n: 16, i: 3, o: 1, k: 2 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { stride: 2, as: 'h' }]) },
  { name: 'conv to a new name', dims: { b: 2, n: 8, i: 3, o: 2, k: 3 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same', as: 'h' }]) },
  { name: 'conv by a kernel as wide', dims: { n: 8, i: 2, o: 2, k: 8 }, in: ['n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same' }]) },
  { name: 'conv by a split kernel', dims: { b: 2, n: 8, k: 4, o: 2 }, in: ['b n', 'k o'], f: by(conv, [], ['n', 'k', { padding: 'same', stride: 2 }]) },
  { name: 'conv laid out otherwise', dims: { b: 4, n: 4, o: 4, i: 1, k: 3 }, in: ['b n i', 'k i o'], f: (x, d) =>
    conv(at(x, 0).relayout({ [dimOf(d, 'b').name]: 'x' }).exp(), at(x, 1).relayout({ [dimOf(d, 'o').name]: 'x' }).exp(), { over: [dimOf(d, 'i').name], windows: windowsOf(d, [['n', 'k', { padding: 'same' }]]) }) },
  { name: 'conv dilated', dims: { b: 1, n: 8, i: 3, o: 2, k: 3 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same', dilation: 3 }]) },
  { name: 'conv that cuts', dims: { b: 2, n: 8, i: 3, o: 1, k: 2 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { padding: [-2, 3] }]) },
  { name: 'conv shifted far', dims: { n: 8, i: 3, k: 2 }, in: ['n i', 'k i'], f: by(conv, ['i'], ['n', 'k', { padding: [6, -5] }]) },
  { name: 'conv of one dim', dims: { n: 8, k: 3 }, in: ['n', 'k'], f: by(conv, [], ['n', 'k', { padding: 1 }]) },
  { name: 'conv by 1', dims: { b: 1, n: 8, i: 4, o: 3, k: 1 }, in: ['b n i', 'k i o'], f: by(conv, ['i'], ['n', 'k', { stride: 2 }]) },
  { name: 'conv 2-D', dims: { b: 3, h: 8, w: 4, i: 3, o: 1, kh: 3, kw: 2 }, in: ['b h w i', 'kh kw i o'], f: by(conv, ['i'], ['h', 'kh', { padding: 'same' }], ['w', 'kw', { padding: 'same', stride: 2 }]) },
  { name: 'conv 2-D, channels first', dims: { b: 1, h: 4, w: 4, i: 3, o: 2, kh: 3, kw: 3 }, in: ['b i h w', 'o i kh kw'], f: by(conv, ['i'], ['w', 'kw', { padding: 'same' }], ['h', 'kh', { padding: 'same' }]) },
  { name: 'conv 2-D of many places', dims: { b: 3, h: 32, w: 23, i: 17, o: 1, kh: 3, kw: 2 }, in: ['b h w i', 'kh kw i o'], f: by(conv, ['i'], ['h', 'kh', { padding: 'same' }], ['w', 'kw', { padding: [2, 0] }]) },
  { name: 'conv of many places, by steps', dims: { b: 3, n: 1024, i: 17, o: 1, k: 3 }, in: ['n b i', 'o i k'], f: by(conv, ['i'], ['n', 'k', { padding: [-1, 3], stride: 2, dilation: 2 }]) },
  { name: 'conv 2-D of halves', dims: { b: 2, h: 4, w: 5, i: 1, k: 3, l: 3 }, in: ['b h w i', 'k l i'], f: (x, d) => conv(at(x, 0).square(), at(x, 1), { over: [dimOf(d, 'i').name], windows: windowsOf(d, [['h', 'k', { padding: 'same' }], ['w', 'l']]) }).exp() },
  { name: 'conv 3-D', dims: { b: 1, d: 4, h: 4, w: 3, i: 1, o: 3, kd: 2, kh: 3, kw: 1 }, in: ['b d h w i', 'kd kh kw i o'], f: by(conv, ['i'], ['d', 'kd', { padding: 'same' }], ['h', 'kh', { padding: 'same', stride: 2 }], ['w', 'kw']) },
  { name: 'conv over two channel dims', dims: { b: 1, n: 3, i: 2, j: 2, o: 2, p: 1, k: 3 }, in: ['j b n i', 'p k i o j'], f: by(conv, ['j', 'i'], ['n', 'k', { padding: 'same' }]) },
  { name: 'conv of groups', dims: { b: 1, n: 4, g: 4, i: 2, o: 3, k: 3 }, in: ['b n g i', 'k g i o'], f: by(conv, ['i'], ['n', 'k', { padding: 'same' }]) },
  { name: 'conv depthwise', dims: { b: 2, n: 4, g: 4, k: 3 }, in: ['b n g', 'k g'], f: by(conv, [], ['n', 'k', { padding: [2, 0] }]) },
  { name: 'conv depthwise, two each', dims: { b: 3, h: 4, w: 3, g: 4, m: 2, k: 3, l: 3 }, in: ['b h w g', 'k l m g'], f: by(conv, [], ['h', 'k', { padding: 'same', stride: 2 }], ['w', 'l', { padding: 'same' }]) },
  { name: 'conv transposed', dims: { b: 2, n: 4, i: 3, o: 2, k: 3 }, in: ['b n i', 'k i o'], f: by(convTranspose, ['i'], ['n', 'k', { padding: 'same', stride: 2 }]) },
  { name: 'conv transposed, all', dims: { b: 1, n: 4, i: 2, o: 3, k: 4 }, in: ['b n i', 'k i o'], f: by(convTranspose, ['i'], ['n', 'k', { stride: 3, dilation: 2 }]) },
  { name: 'conv transposed with gaps', dims: { b: 2, n: 4, i: 1, o: 3, k: 2 }, in: ['b n i', 'k i o'], f: by(convTranspose, ['i'], ['n', 'k', { stride: 4, padding: 'same' }]) },
  { name: 'conv, its gradients', dims: { b: 1, n: 8, g: 2, i: 1, k: 3 }, in: ['b n g i', 'k g i'], f: (x, d) => {
    const windows = windowsOf(d, [['n', 'k', { padding: 'same', stride: 2 }]])
    const loss = (p: { readonly x: T; readonly w: T }): Scalar => expectDims(conv(p.x, p.w, { over: [dimOf(d, 'i').name], windows }).square().sum(), [])
    const found = grad(loss)({ x: at(x, 0), w: at(x, 1) })
    return found.x.mul(found.w.sum(dimOf(d, 'k')))
  } },
  { name: 'conv of convs', dims: { b: 2, n: 8, i: 3, k: 3 }, in: ['b n i', 'k i'], f: (x, d) => {
    const [first, w] = [at(x, 0), at(x, 1)]
    const [along] = windowsOf(d, [['n', 'k', { padding: 'same' }]])
    return along === undefined ? first : conv(conv(first, w, { windows: [along] }).exp(), w, { windows: [{ ...along, stride: 2 }] })
  } },
  { name: 'pool max', dims: { n: 16, c: 2 }, in: ['n c'], f: (x, d) => maxPool(at(x, 0), under(d, ['n', 2])).square() },
  { name: 'pool max that overlaps', dims: { n: 8, c: 2 }, in: ['c n'], f: (x, d) => maxPool(at(x, 0), under(d, ['n', 3, { stride: 1, padding: 'same' }])).exp() },
  { name: 'pool max by steps', dims: { b: 1, h: 8, w: 4, c: 3 }, in: ['b h w c'], f: (x, d) => maxPool(at(x, 0), under(d, ['h', 3, { stride: 2, padding: 1 }], ['w', 2])) },
  { name: 'pool max of equals', dims: { h: 4, w: 8 }, in: ['h w'], f: (x, d) => maxPool(at(x, 0).mul(0), under(d, ['h', 2, { stride: 1 }], ['w', 3, { stride: 1, padding: 'same' }])).add(at(x, 0).sum()) },
  { name: 'pool max dilated', dims: { n: 8, c: 2 }, in: ['n c'], f: (x, d) => maxPool(at(x, 0), under(d, ['n', 3, { stride: 1, padding: 'same', dilation: 2, as: 'p' }])) },
  { name: 'pool min', dims: { n: 8, m: 4 }, in: ['n m'], f: (x, d) => minPool(at(x, 0), under(d, ['n', 2, { stride: 1 }], ['m', 3, { padding: [1, 1] }])).square() },
  { name: 'pool of integers', dims: { n: 8, m: 4 }, in: ['n m#9'], f: (x, d) => maxPool(at(x, 0), under(d, ['n', 3, { stride: 2, padding: 'same' }])).cast('f32'), noGradient: true },
  { name: 'pool sum', dims: { n: 8, c: 4 }, in: ['n c'], f: (x, d) => sumPool(at(x, 0), under(d, ['n', 3, { stride: 2, padding: 'same' }])).square() },
  { name: 'pool sum of tiles, fewer than devices', dims: { n: 8, c: 4 }, in: ['n c'], f: (x, d) => sumPool(at(x, 0), under(d, ['n', 4])).square() },
  { name: 'pool mean', dims: { h: 8, w: 4 }, in: ['h w'], f: (x, d) => meanPool(at(x, 0), under(d, ['h', 3, { stride: 1, padding: 'same' }], ['w', 2])).square() },
  { name: 'pool mean with zeros', dims: { h: 8, w: 4 }, in: ['w h'], f: (x, d) => meanPool(at(x, 0), under(d, ['h', 4, { stride: 2, padding: 1 }], ['w', 3, { stride: 1, padding: 'same' }]), { count: 'all' }).square() },
]
