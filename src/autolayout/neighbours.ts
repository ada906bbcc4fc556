/** Layouts that differ from one by a rule. */
import type { Option } from './options.ts'

interface Choice { readonly axis: string; readonly size: number; readonly option: Option }

/** Those of one axis with a dim more or less, or with less at rest; `keeps` says which may be, `sums` whether gradients of microbatches are summed. Whether they are legal is another question. */
export function neighbours<C extends Choice>(choices: readonly C[], dims: readonly string[], keeps: (axis: string, option: Option) => boolean, sums: boolean): C[][] {
  return choices.flatMap((c, i) => {
    const { option: o } = c
    const changed: Option[] = [
      ...o.compute.map(d => ({ ...o, compute: o.compute.filter(e => e !== d) })),
      ...dims.filter(d => !o.compute.includes(d)).map(d => ({ ...o, compute: [...o.compute, d] })),
      ...(o.params.length === 0 ? [] : [{ ...o, params: [] }, { ...o, params: [], state: o.params }]),
      ...(o.state.length === 0 ? [] : [{ ...o, state: [], gradients: [] }]),
      ...(o.gradients.length > 0 ? [{ ...o, gradients: [] }] : sums && o.state.length > 0 ? [{ ...o, gradients: o.state }] : []),
      ...(Object.keys(o.named).length === 0 ? [] : [{ ...o, named: {} }]),
    ]
    return changed.filter(option => keeps(c.axis, option)).map(option => choices.map((d, k) => (k === i ? { ...d, option } : d)))
  })
}
