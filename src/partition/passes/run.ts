/** The passes that a device's program goes through, in their order. What is not used falls away, and equal nodes are one, by construction. */
import type { Make } from '../../graph/node.ts'
import { prune } from '../../graph/prune.ts'
import type { LocalAttrs, LocalGraph } from '../local.ts'
import { contractHalves } from './half-precision.ts'
import { hoistGathers } from './hoist.ts'
import { mergeSmall } from './merge.ts'
import { reuseCollectives } from './reuse.ts'
import { applied, type Pass } from './rewrite.ts'
import { scatterSums } from './scatter.ts'
import { sinkGathers } from './sink-gathers.ts'
import { sinkIntoChoices } from './sink-choices.ts'
import { sinkParts } from './sink.ts'
import { narrowed, type Wire } from './wire.ts'

type Maker = Make<LocalAttrs>
const pruned = (graph: LocalGraph, make: Maker): LocalGraph => {
  const outputs = prune<LocalAttrs>(graph.outputs, make)
  return outputs.every((n, i) => n === graph.outputs[i]) ? graph : { ...graph, outputs }
}
const over = (pass: Pass) => (graph: LocalGraph, make: Maker): LocalGraph => ({ ...graph, outputs: applied(graph, make, pass).outputs })

const sunk = (graph: LocalGraph, make: Maker): LocalGraph => over(sinkGathers(graph))(graph, make)

// What is read from a stack need not be computed, and parameters that a hoisted gather has taken out of a loop need not enter it any more.
// A gather sinks below one op after another.
const first = [pruned, sunk, sunk, over(reuseCollectives), over(hoistGathers), pruned, over(sinkParts()), over(sinkIntoChoices), over(sinkParts()), over(scatterSums), over(sinkIntoChoices), over(sinkParts())]
const last = [over(mergeSmall), over(contractHalves)]

/** What a program is made for: in how many bits numbers cross the axes, and whether collectives are under way while a device computes. */
export interface Wiring { readonly wire?: Wire | undefined; readonly overlaps?: boolean | undefined }

/** What crosses the axes in `wire` in fewer bits does so after it is known what crosses them. */
export const optimized = (graph: LocalGraph, make: Maker, { wire = {}, overlaps = false }: Wiring = {}): LocalGraph =>
  [...first, ...overlaps ? [over(sinkParts(true))] : [], ...(Object.keys(wire).length === 0 ? [] : [over(narrowed(wire, graph.mesh))]), ...last].reduce((g, pass) => pass(g, make), graph)
