/** Types of results: values from outside, and what changes only how they are seen. */
import { LayoutError } from '../../core/errors.ts'
import { shown } from '../../core/shown.ts'
import { agree, constantOf, dimIn, distinct, only } from './checks.ts'
import type { Infer } from '../node.ts'
import type { BasicAttrs } from '../ops.ts'

export const basic: Infer<BasicAttrs> = {
  input: a => [a.type],
  constant: (a, _, site) => {
    constantOf('constant', a.value, a.dtype, site)
    return [{ shape: [], dtype: a.dtype }]
  },
  iota: a => [{ shape: [a.dim], dtype: 'i32' }],
  broadcast: (a, inputs, site) => {
    const t = only(inputs)
    agree(t.shape, a.shape, 'broadcast', site)
    for (const d of t.shape) dimIn(a.shape, d.name, 'broadcast to a shape that lacks a dim of the tensor', site)
    return [{ shape: distinct(a.shape, 'broadcast', site), dtype: t.dtype }]
  },
  rename: (a, inputs, site) => {
    const t = only(inputs)
    dimIn(t.shape, a.from, 'rename', site)
    return [{ shape: distinct(t.shape.map(d => (d.name === a.from ? { name: a.to, size: d.size } : d)), 'rename', site), dtype: t.dtype }]
  },
  relayout: (a, inputs, site) => {
    // Which names there are is known where the program is compiled.
    const to: unknown = a.to
    if (typeof to !== 'string' && (typeof to !== 'object' || to === null || Array.isArray(to))) {
      throw new LayoutError({ code: 'layout', what: `relayout: ${shown(to)} is no layout`, fix: 'give rules, { DIM: \'AXIS\' }, or the name of a layout, such as \'params\'', at: site })
    }
    const otherwise: unknown = a.otherwise
    if (otherwise !== undefined && typeof otherwise !== 'string') {
      throw new LayoutError({ code: 'layout', what: `relayout: ${shown(otherwise)} is no layout`, fix: 'name the layout that counts where a recipe does not say, such as \'compute\'', at: site })
    }
    return [only(inputs)]
  },
  named: (_, inputs) => [only(inputs)],
  stored: (_, inputs) => [only(inputs)],
  stopGradient: (_, inputs) => [only(inputs)],
  customGradient: (_, inputs) => [only(inputs)],
}
