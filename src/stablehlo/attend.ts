/** Attention to what lies in blocks of a cache, by our own kernel, which reads keys and values where they lie: found by what `reading` and `attention` of meshwork/nn write. What they write is left out where nothing else uses it. */
import { names, sizeOf, type Dim } from '../core/dim.ts'
import type { DType } from '../core/dtype.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'
import { ownCall } from './own-call.ts'
import type { Scope } from './scope.ts'
import type { Ssa, Writer } from './writer.ts'

type Kind = LocalNode['op']
const is = <K extends Kind>(n: LocalNode | undefined, op: K): n is Extract<LocalNode, { readonly op: K }> => n?.op === op
const inputOf = (n: LocalNode | undefined, i = 0): LocalNode | undefined => n?.inputs[i]
const bare = (n: LocalNode | undefined): LocalNode | undefined => (is(n, 'broadcast') ? bare(inputOf(n)) : n)
const constant = (n: LocalNode | undefined, value: number): boolean => { const found = bare(n); return is(found, 'constant') && Number(found.attrs.value) === value }
const binary = (n: LocalNode | undefined, fn: string): n is Extract<LocalNode, { readonly op: 'binary' }> => is(n, 'binary') && n.attrs.fn === fn
const reduced = (n: LocalNode | undefined, kind: string, over: string): LocalNode | undefined => { const found = bare(n); return is(found, 'reduce') && found.attrs.kind === kind && found.attrs.over.join() === over ? inputOf(found) : undefined }

interface Looked { readonly store: LocalNode; readonly entry: string; readonly places: LocalNode; readonly own: LocalNode }
/** Rows of a store at places, zeros where there are none; in f32 of a store of halves. */
function looked(found: LocalNode | undefined): Looked | undefined {
  const n = is(found, 'convert') ? inputOf(found) : found
  const taken = inputOf(n, 1)
  const own = bare(inputOf(n))
  const [store, places] = [inputOf(taken), inputOf(taken, 1)]
  return is(n, 'select') && is(taken, 'take') && constant(inputOf(n, 2), 0) && own !== undefined && store !== undefined && places !== undefined ? { store, entry: taken.attrs.dim, places, own } : undefined
}

interface Found { readonly query: LocalNode; readonly keys: Looked; readonly values: Looked; readonly mask: LocalNode; readonly over: string; readonly headDim: string }
/** What a product of shares with values is, where the shares are a softmax of products with keys of the same places. */
function found(n: LocalNode<'dot'>): Found | undefined {
  const [over, ...more] = n.attrs.over
  const shares = inputOf(n)
  const exponents = inputOf(shares)
  const below = inputOf(exponents)
  const masked = inputOf(below)
  const products = inputOf(masked, 1)
  if (over === undefined || more.length > 0 || !binary(shares, 'div') || reduced(inputOf(shares, 1), 'sum', over) !== exponents) return undefined
  if (!is(exponents, 'unary') || exponents.attrs.fn !== 'exp' || !binary(below, 'sub') || reduced(inputOf(below, 1), 'max', over) !== masked) return undefined
  if (!is(masked, 'select') || !constant(inputOf(masked, 2), -1e9) || !is(products, 'dot')) return undefined
  const [headDim, ...others] = products.attrs.over
  const [query, keys, values, mask] = [inputOf(products), looked(inputOf(products, 1)), looked(inputOf(n, 1)), bare(inputOf(masked))]
  if (headDim === undefined || others.length > 0 || query === undefined || keys === undefined || values === undefined || mask === undefined) return undefined
  return keys.places === values.places && keys.own === values.own && keys.entry === values.entry ? { query, keys, values, mask, over, headDim } : undefined
}

/** As the kernel bounds them. */
const [lanes, mostDims] = [16, 256]
const kernelDTypes: readonly DType[] = ['f32', 'bf16', 'f16']

/** Undefined where it is no such attention, or one that the kernel has none of. */
export function emitAttention(n: LocalNode<'dot'>, w: Writer, { origins, ssaOf }: Scope): Ssa | undefined {
  const attention = origins === undefined ? undefined : found(n)
  if (attention === undefined || ssaOf === undefined) return undefined
  const { query, keys: { store, entry, places, own }, values, mask, over, headDim } = attention
  const of = (shape: readonly Dim[], wanted: (name: string) => boolean): Dim[] => shape.filter(d => wanted(d.name))
  const [asked, lies, at, seen] = [shapeOf(query), shapeOf(store), shapeOf(places), shapeOf(mask)]
  const has = (shape: readonly Dim[], name: string): boolean => names(shape).includes(name)
  const shared = of(at, name => has(lies, name))
  const requests = of(at, name => name !== over && !has(lies, name))
  const heads = of(lies, name => name !== entry && name !== headDim && !has(at, name))
  const rows = of(asked, name => name !== headDim && !has(at, name) && !has(heads, name))
  const [seeing, alike] = [of(rows, name => has(seen, name)), of(rows, name => !has(seen, name))]
  const dim = of(lies, name => name === headDim)
  const along = of(at, name => name === over)
  const [orders, sizes] = [
    { query: [...shared, ...requests, ...heads, ...seeing, ...alike, ...dim], store: [...shared, ...of(lies, name => name === entry), ...heads, ...dim], places: [...shared, ...requests, ...along], mask: [...shared, ...requests, ...seeing, ...along] },
    { r: sizeOf(shared), q: sizeOf(requests), h: sizeOf(heads), s: sizeOf(seeing), g: sizeOf(alike), d: sizeOf(dim), l: sizeOf(along), e: sizeOf(of(lies, name => name === entry)) },
  ]
  const same = (a: readonly Dim[], b: readonly Dim[]): boolean => [...names(a)].sort().join() === [...names(b)].sort().join()
  const dtypes = [store, values.store].map(s => dtypeOf(s))
  const inPlace = [store, values.store].every(s => names(shapeOf(s)).join() === names(orders.store).join()) && dtypes[0] === dtypes[1] && kernelDTypes.includes(dtypes[0] ?? 'bool')
  if (!inPlace || !same(asked, orders.query) || !same(seen, orders.mask) || !same(shapeOf(own), at) || dtypeOf(query) !== 'f32' || sizes.d % lanes !== 0 || sizes.d > mostDims) return undefined
  const ordered = (node: LocalNode, order: readonly Dim[], to: readonly number[]): Ssa | undefined => {
    const value = ssaOf(node)
    return value === undefined ? undefined : w.reshape(w.transpose(value, order.map(d => names(shapeOf(node)).indexOf(d.name))), to)
  }
  const { r, q, h, s, g, d, l, e } = sizes
  const operands = [
    ordered(query, orders.query, [r, q, h, s, g, d]), ordered(store, orders.store, [r, e, h, d]), ordered(values.store, orders.store, [r, e, h, d]),
    ordered(places, orders.places, [r, q, l]), ordered(own, orders.places, [r, q, l]), ordered(mask, orders.mask, [r, q, s, l]),
  ].filter(x => x !== undefined)
  if (operands.length < 6) return undefined
  const made = ownCall(w, 'attend', operands, { sizes: [r, q, h, s, g, d], dtype: 'f32' })
  return w.transpose(w.reshape(made, orders.query.map(x => x.size)), names(shapeOf(n)).map(name => names(orders.query).indexOf(name)))
}
