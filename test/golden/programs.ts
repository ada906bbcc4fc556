/** Small programs whose text is kept at each stage, all on a mesh of 2 × 2. */
import type { Dim } from '../../src/core/dim.ts'
import type { Layouts } from '../../src/core/layout.ts'
import { cond, dims, expectDims, full, grad, input, keyOf, loose, mapTree, param, scan, slot, valueAndGrad, whileLoop, zipTrees, type Tensor, type Tree } from '../../src/engine/index.ts'
import { conv, crossEntropy, dropout, layerNorm, softmax } from '../../src/nn/index.ts'
import { globalNorm } from '../../src/optim/index.ts'

type Trees = readonly Tree[]
export interface Golden extends Layouts {
  readonly name: string
  /** What to look for in the text. */
  readonly shows: string
  readonly args: Trees
  readonly f: (...args: Trees) => Tree
  /** Graph and StableHLO are kept too; else only the device's program. */
  readonly everyStage?: true
  readonly dims: { readonly [name: string]: Dim }
}

const d = dims({ batch: 8, seq: 4, kvSeq: 4, embed: 4, hidden: 8, vocab: 16, layers: 3, micro: 2, height: 8, width: 8, rows: 3 })
const { batch, seq, kvSeq, embed, hidden, vocab, layers, micro, height, width, rows } = d
const both = { batch: 'batch', hidden: 'model', vocab: 'model' } as const

const golden = <const A extends Trees>(name: string, shows: string, layouts: Layouts, args: A, f: (...args: A) => Tree, everyStage?: true): Golden =>
  ({ name, shows, ...layouts, args, f: f as unknown as Golden['f'], dims: d, ...(everyStage === undefined ? {} : { everyStage }) })

const x = input('x', [batch, embed])
const y = input('y', [batch, embed])
const ids = input('ids', [batch, seq], 'i32')
const stream = input('x', [batch, seq, embed])
const weights = { w: param('w', [embed, hidden]), v: param('v', [hidden, embed]) }
type Weights = typeof weights
const network = (x: Tensor<'batch' | 'embed'>, p: Weights): Tensor<'batch' | 'embed'> => x.dot(p.w, embed).relu().dot(p.v, hidden)
const loss = (p: Weights, x: Tensor<'batch' | 'embed'>, y: Tensor<'batch' | 'embed'>) => network(x, p).sub(y).square().mean()

/** A step of gradient descent, computed where the parameters rest. */
const descend = <P extends Tree>(p: P, g: P): P => zipTrees(p, g, (w, dw) => w.relayout('params').sub(dw.relayout('params').mul(0.1)))

const table = param('table', [vocab, embed])
const tied = (e: typeof table, ids: Tensor<'batch' | 'seq'>) => crossEntropy(e.take(vocab, ids).dot(e, embed), vocab, ids).mean()

const stacked = { w: param('w', [layers, embed, hidden]), v: param('v', [layers, hidden, embed]), gain: param('gain', [layers, embed]) }
const deep = (p: typeof stacked, x: Tensor<'batch' | 'embed'>) => scan(layers, x, p, (x, w) =>
  [x.add(x.mul(w.gain).dot(w.w, embed).relu().dot(w.v, hidden)), {}])[0].square().mean()

export const programs: readonly Golden[] = [
  golden('two-layer', 'one all-reduce along model, of the result: the hidden layer is split', { layout: both },
    [x, weights], (x, p) => network(x, p), true),
  golden('two-layer-step', 'the forward all-reduce, one of each gradient along batch, one of the loss', { layout: both },
    [weights, x, y], (p, x, y) => {
      const { value, grads } = valueAndGrad((p: Weights) => loss(p, x, y))(p)
      return { value, next: descend(p, grads) }
    }, true),
  golden('softmax', 'a maximum and a sum are reduced, never the scores', { layout: { batch: 'batch', kvSeq: 'model' } },
    [input('scores', [batch, kvSeq])], s => softmax(s, kvSeq), true),
  golden('softmax-gradient', 'one more sum is reduced for the gradient', { layout: { batch: 'batch', kvSeq: 'model' } },
    [input('scores', [batch, kvSeq]), input('weights', [batch, kvSeq])], (s, w) => grad((s: typeof w) => softmax(s, kvSeq).mul(w).sum())(s)),
  golden('embedding', 'rows of the device\'s part of the table, one all-reduce along model', { layout: both },
    [table, ids], (e, ids) => e.take(vocab, ids)),
  golden('embedding-gradient', 'no collective along model: each device adds to its own rows', { layout: both },
    [table, ids, stream], (e, ids, w) => grad((e: typeof table) => e.take(vocab, ids).mul(w).sum())(e)),
  golden('cross-entropy', 'no device holds all logits: a maximum, a sum and the target\'s logit are reduced', { layout: both },
    [input('logits', [batch, vocab]), input('targets', [batch], 'i32')], (l, t) => valueAndGrad((l: Tensor<'batch' | 'vocab'>) => crossEntropy(l, vocab, t).mean())(l)),
  golden('tied-weights', 'the two gradients of the table are added before one all-reduce along batch', { layout: both },
    [table, ids], (e, ids) => valueAndGrad((e: typeof table) => tied(e, ids))(e)),
  golden('layers', 'inside the loops the two all-reduces of each layer, after the backward one all-reduce a parameter', { layout: both },
    [stacked, x], (p, x) => valueAndGrad((p: typeof stacked) => deep(p, x))(p)),
  golden('fsdp', 'parameters gathered before use, gradients reduce-scattered', { layout: { batch: 'batch' }, params: { embed: 'batch' } },
    [weights, x, y], (p, x, y) => {
      const { value, grads } = valueAndGrad((p: Weights) => loss(p, x, y))(p)
      return { value, next: descend(p, grads) }
    }),
  golden('fsdp-layers', 'each layer\'s parameters gathered in the loops, their gradients reduce-scattered', { layout: { batch: 'batch' }, params: { embed: 'batch' } },
    [stacked, x], (p, x) => descend(p, grad((p: typeof stacked) => deep(p, x))(p))),
  golden('zero-1', 'gradients reduce-scattered to where the slots lie, new parameters gathered', { layout: { batch: 'batch' }, state: { embed: 'batch' } },
    [weights, mapTree(weights, (w, path) => slot(`momentum.${path}`, w.shape)), x, y], (p, m, x, y) => {
      const grads = mapTree(grad((p: Weights) => loss(p, x, y))(p), g => g.relayout('state'))
      const momentum = zipTrees(m, grads, (m, g) => m.relayout('state').mul(0.9).add(g))
      return { momentum, next: zipTrees(p, momentum, (w, m) => w.relayout('state').sub(m.mul(0.1)).relayout('params')) }
    }),
  golden('sequence-parallel', 'a reduce-scatter into the split sequence, an all-gather out of it', { layout: both },
    [stream, weights.w, weights.v, param('gain', [embed]), param('bias', [embed])], (x, w, v, gain, bias) => {
      const out = x.dot(w, embed).relu().dot(v, hidden).relayout({ batch: 'batch', seq: 'model' })
      return layerNorm(out, embed, gain, bias).relayout({ batch: 'batch' }).dot(w, embed)
    }),
  golden('rename', 'the new name has a rule of its own: each device cuts its part of the keys, and gathers nothing', { layout: { batch: 'batch', kvSeq: 'model' } },
    [stream], x => softmax(x.dot(x.rename(seq, kvSeq), embed), kvSeq)),
  golden('dropout', 'each device draws its own part from global indices, without a collective', { layout: { batch: 'batch', embed: 'model' } },
    [x, input('seed', [], 'i32')], (x, seed) => dropout(keyOf(seed), x, 0.5)),
  golden('accumulation', 'gradients stay partial round the loop and are reduced once after it', { layout: both },
    [weights, input('xs', [micro, batch, embed]), input('ys', [micro, batch, embed])], (p, xs, ys) =>
      scan(micro, mapTree(p, w => full(0, w.shape)), { x: xs, y: ys }, (sum, { x, y }) =>
        [zipTrees(sum, grad((p: Weights) => loss(p, x, y))(p), (a, b) => a.add(b)), {}])[0]),
  golden('global-norm', 'sums of squares over split and whole gradients: one all-reduce of a scalar', { layout: both },
    [weights.w, weights.v, param('bias', [embed])], (w, v, b) => expectDims(loose(globalNorm([w, v, b])), [])),
  golden('cond', 'collectives in a branch: all devices choose alike, and a token goes through', { layout: both },
    [input('chosen', [], 'bool'), x, weights], (chosen, x, p) => cond(chosen, () => network(x, p), () => x)),
  golden('while', 'a condition that is reduced every turn', { layout: both },
    [x, weights.w], (x, w) => whileLoop(x => expectDims(loose(x).square().sum().less(100), []), x => x.add(expectDims(loose(x.dot(w, embed)).dot(loose(w).rename(embed, 'other'), hidden).mean('other'), [batch])).mul(2), x)),
  golden('convolution', 'halos: each device gets a row of its neighbour, of the image once for both passes; one all-reduce of the kernel\'s gradient', { layout: { batch: 'batch', height: 'model' } },
    [input('image', [batch, height, width, embed]), param('w', [rows, embed, hidden])], (image, w) =>
      grad((w: Tensor<'rows' | 'embed' | 'hidden'>) => conv(image, w, { over: [embed], windows: [{ dim: height, kernel: rows, padding: 'same' }] }).square().sum())(w), true),
]
