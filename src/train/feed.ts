/** Batches on their way to the devices: which rows this process needs, and each device's part of them. */
import { formatShape, sizeOf } from '../core/dim.ts'
import type { TypedArray } from '../core/dtype.ts'
import { DataError } from '../core/errors.ts'
import { shown } from '../core/shown.ts'
import { treeOps } from '../core/tree.ts'
import type { Column, Rows } from '../data/index.ts'
import { blockOf, leavesOf, placementTrees, stretches, type AnyTensor, type Backend, type Mesh, type Placement, type Source, type Tree } from '../engine/index.ts'

/** What a row has of each of a batch's tensors, by path. @throws DataError where a tensor's first dim is not `batch` */
export function rowFields(batch: Tree): { readonly [path: string]: Column } {
  return Object.fromEntries(leavesOf(batch).map(({ path, leaf }) => {
    const [first, ...others] = leaf.shape
    if (first?.name === 'batch') return [path, { dtype: leaf.dtype, shape: others.map(d => d.size) }]
    throw new DataError({ code: 'batch-dim', what: `the model's batch has "${path}" of ${formatShape(leaf.shape)}`, fix: 'let "batch" be the first dim of each tensor: rows lie one after another in what data gives' })
  }))
}

/** The rows of a global batch that this process's devices need. */
export function rowsHere(placements: unknown, mesh: Mesh, backend: Backend): Rows {
  const blocks = placementTrees.flatten(placements).flatMap(({ leaf }: { leaf: Placement }) =>
    backend.addressable.filter(d => d < mesh.size).map(d => blockOf(leaf.shape, leaf.sharding, mesh, d)))
  return { from: Math.min(...blocks.map(b => b.starts[0] ?? 0)), to: Math.max(...blocks.map(b => (b.starts[0] ?? 0) + (b.sizes[0] ?? 1))) }
}

const isTensor = (x: unknown): x is AnyTensor => typeof x === 'object' && x !== null && 'node' in x
const tensors = treeOps(isTensor, 'a tensor')
const under = (batch: unknown, key: string): unknown => (typeof batch === 'object' && batch !== null && Object.hasOwn(batch, key) ? (batch as { readonly [k: string]: unknown })[key] : undefined)
/** What a batch has where the model has its tensors, in their order. Keys may hold any letters: it is walked, not looked up by path. */
const foundIn = (inputs: unknown, batch: unknown): unknown[] => (isTensor(inputs) ? [batch] : Object.entries(inputs as object).flatMap(([key, tree]) => foundIn(tree, under(batch, key))))

/**
 * A batch's rows as what programs are given: each device takes its rows and its part of them. What the model does not take may be there too.
 * @throws DataError naming the tensor that is missing or of another size
 */
export function sourcesOf(inputs: Tree, batch: unknown, rows: Rows): unknown {
  const all = foundIn(inputs, batch)
  const given = leavesOf(inputs).map(({ path, leaf }, nth) => {
    const found = all[nth]
    const rowSize = sizeOf(leaf.shape.slice(1))
    const what = (text: string): DataError => new DataError({
      code: 'batch-field', what: `the data's batch ${text}`, details: { 'the model takes': `${path} ${formatShape(leaf.shape)}, ${leaf.dtype}`, rows: `${rows.to - rows.from}` }, fix: 'give an array with the rows one after another',
    })
    if (!ArrayBuffer.isView(found) || found instanceof DataView) throw what(found === undefined ? `has no "${path}"` : `has ${shown(found)} for "${path}"`)
    const values = found as unknown as TypedArray
    if (values.length !== (rows.to - rows.from) * rowSize) throw what(`has ${values.length} numbers for "${path}", and ${rows.to - rows.from} rows of ${rowSize} are ${(rows.to - rows.from) * rowSize}`)
    const make = values.constructor as new (length: number) => TypedArray
    // Copies: a source of one's own may use its arrays again while devices still read.
    const part: Source = block => {
      const out = new make(block.sizes.reduce((n, s) => n * s, 1))
      const before = rows.from * rowSize
      stretches(leaf.shape, block, (global, local, length) => { out.set(values.subarray(global - before, global - before + length) as never, local) })
      return out
    }
    return part
  })
  return tensors.rebuild(inputs, given)
}
