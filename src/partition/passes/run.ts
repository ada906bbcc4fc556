/** The passes that a device's program goes through, in their order. What is not used falls away, and equal nodes are one, by construction. */
import type { Make } from '../../graph/node.ts'
import { prune } from '../../graph/prune.ts'
import type { LocalAttrs, LocalGraph } from '../local.ts'
import { hoistGathers } from './hoist.ts'
import { mergeSmall } from './merge.ts'
import { applied, type Pass } from './rewrite.ts'
import { scatterSums } from './scatter.ts'

const passes: readonly Pass[] = [hoistGathers, scatterSums, mergeSmall]

export const optimized = (graph: LocalGraph, make: Make<LocalAttrs>): LocalGraph =>
  passes.reduce<LocalGraph>((g, pass) => ({ ...g, outputs: applied(g, make, pass).outputs }), pruned(graph, make))
const pruned = (graph: LocalGraph, make: Make<LocalAttrs>): LocalGraph => ({ ...graph, outputs: prune<LocalAttrs>(graph.outputs, make) })
