/** Types of results: ops that move elements to places known beforehand. */
import { formatShape, names, sizeOf, type Dim } from '../../core/dim.ts'
import { DimError, type Site } from '../../core/errors.ts'
import { typeOf, type Infer, type TensorType } from '../node.ts'
import type { RearrangingAttrs } from '../ops.ts'
import { constantOf, dimIn, distinct, only } from './checks.ts'

const sizesOfParts = (whole: readonly Dim[], parts: readonly Dim[], op: string, tensor: readonly Dim[], site: Site | undefined): void => {
  if (sizeOf(whole) === sizeOf(parts)) return
  throw new DimError({
    code: 'size-differs', what: `${op}: ${formatShape(whole)} has ${sizeOf(whole)} elements, ${formatShape(parts)} has ${sizeOf(parts)}`,
    details: { tensor: formatShape(tensor) }, fix: 'the sizes on both sides must multiply to the same number', at: site,
  })
}
const replaced = (t: TensorType, at: string, by: readonly Dim[], gone: readonly string[], op: string, site: Site | undefined): readonly [TensorType] =>
  [{ dtype: t.dtype, shape: distinct(t.shape.flatMap(d => (d.name === at ? by : gone.includes(d.name) ? [] : [d])), op, site) }]

export const rearranging: Infer<RearrangingAttrs> = {
  splitDim: (a, inputs, site) => {
    const t = only(inputs)
    sizesOfParts([dimIn(t.shape, a.dim, 'split', site)], a.into, 'split', t.shape, site)
    return replaced(t, a.dim, a.into, [], 'split', site)
  },
  mergeDims: (a, inputs, site) => {
    const t = only(inputs)
    distinct(a.from.map(name => dimIn(t.shape, name, 'merge', site)), 'merge', site)
    sizesOfParts([a.into], a.from.map(name => dimIn(t.shape, name, 'merge', site)), 'merge', t.shape, site)
    const [first, ...rest] = a.from
    if (first === undefined) return [{ dtype: t.dtype, shape: distinct([...t.shape, a.into], 'merge', site) }]
    return replaced(t, first, [a.into], rest, 'merge', site)
  },
  resample: (a, inputs, site) => {
    const t = only(inputs)
    dimIn(t.shape, a.dim, 'resample', site)
    constantOf('filling in', a.fill, t.dtype, site)
    return replaced(t, a.dim, [a.to], [], 'resample', site)
  },
  roll: (a, inputs, site) => {
    dimIn(only(inputs).shape, a.dim, 'roll', site)
    return [only(inputs)]
  },
  reverse: (a, inputs, site) => {
    dimIn(only(inputs).shape, a.dim, 'reverse', site)
    return [only(inputs)]
  },
  concat: (a, inputs, site) => {
    const first = only(inputs)
    const others = (t: TensorType): string => `${t.dtype} ${formatShape(t.shape.filter(d => d.name !== a.dim.name))}`
    for (const t of inputs.map(typeOf)) {
      dimIn(t.shape, a.dim.name, 'concat', site)
      if (others(t) !== others(first) || names(t.shape).join() !== names(first.shape).join()) {
        throw new DimError({ code: 'concat', what: `concat along "${a.dim.name}": operands differ in their other dims, or in dtype`, details: { first: `${first.dtype} ${formatShape(first.shape)}`, other: `${t.dtype} ${formatShape(t.shape)}` }, fix: 'broadcast, rename or cast them to agree', at: site })
      }
    }
    return replaced(first, a.dim.name, [a.dim], [], 'concat', site)
  },
}
