/** On how many devices a model fits that fits on fewer in no layout: asked of what needs least memory, whatever time it takes. */
import { mesh as meshOf } from '../core/mesh.ts'
import { layoutsFor, optionKey } from './options.ts'
import { restingBytes } from './reference.ts'
import { meshesOf, type Sized } from './search.ts'
import { Searcher, type Choice, type SearchGiven, type Variant } from './searcher.ts'
import { planWhole } from './whole.ts'

/** What goes on into combinations of what one axis may do, and how many of these are planned. */
const [mostOptions, mostPlanned] = [6, 3]

/** Bytes of what a program is given, once: what rests on all devices together at the least. Of slots in the host's memory none does. */
export function givenBytes<V>(variant: Variant<V>, slots: 'device' | 'host'): number {
  const graph = variant.graph()
  return restingBytes({ graph: { ...graph, inputs: graph.inputs.filter(n => slots === 'device' || n.attrs.role !== 'state') } }, { layout: {} }, meshOf({}))
}

/** The first of these numbers of devices on which a layout fits, by its plan; undefined where of those that need least by estimate none does. */
export function enoughDevices<V>(given: SearchGiven<V>, counts: readonly number[]): number | undefined {
  const { machine, memory, dims, uses, variants, onProgress = () => {} } = given
  const searchers = variants.map(variant => new Searcher(variant, given))
  for (const [i, devices] of counts.entries()) {
    onProgress({ what: `whether ${devices} devices are enough`, done: i, total: counts.length })
    for (const searcher of searchers) {
      const { variant } = searcher
      for (const choices of leastOn(searcher, given, devices)) {
        const mesh = meshOf(Object.fromEntries(choices.map(c => [c.axis, c.size])))
        if (planWhole({ variant, mesh, layouts: layoutsFor(choices, uses) }, variant.graph(), dims, machine).memory.peak <= memory) return devices
      }
    }
  }
  return undefined
}

/** The layouts that need least memory, by the same estimate as in a search. */
function leastOn<V>(searcher: Searcher<V>, { pins = {} }: SearchGiven<V>, devices: number): (readonly Choice[])[] {
  const known = new Map<string, Choice['option'][]>()
  const options = ({ size, pinned }: Sized): Choice['option'][] => {
    const key = `${size} ${pinned ?? ''}`
    const found = known.get(key) ?? searcher.options(size, pinned).map(option => ({ option, bytes: searcher.bytes([{ axis: 'x', size, option }]) ?? Infinity }))
      .sort((a, b) => a.bytes - b.bytes).slice(0, mostOptions).map(o => o.option)
    known.set(key, found)
    return found
  }
  const all = meshesOf(devices, pins).flatMap(sizes => sizes.reduce<Choice[][]>((lists, sized) => lists.flatMap(list => options(sized).map(option => [...list, { axis: sized.axis, size: sized.size, option }])), [[]]))
  const estimated = all.map(choices => ({ choices, bytes: searcher.bytes(choices) ?? Infinity })).filter(c => c.bytes < Infinity).sort((a, b) => a.bytes - b.bytes)
  // What differs in names of axes alone, or in which of equal ones does what, is planned once.
  return [...new Map(estimated.map(c => [c.choices.map(({ size, option }) => `${size} ${optionKey(option)}`).sort().join(), c.choices])).values()].slice(0, mostPlanned)
}
