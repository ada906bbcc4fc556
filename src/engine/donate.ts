/** Which arguments' memory which results may take. */
import { formatShape } from '../core/dim.ts'
import { dtypeOf, shapeOf } from '../graph/node.ts'
import type { LocalGraph, LocalNode, Placement } from '../partition/local.ts'

const key = (n: LocalNode, placement: Placement | undefined): string => `${dtypeOf(n)}[${formatShape(shapeOf(n))}]${placement?.memory ?? ''}`

/** Parameter → result, of one local type and one memory each; candidates and results of a type are paired in their order. */
export function donationPairs(graph: LocalGraph, candidates: readonly number[]): Map<number, number> {
  const free = new Map<string, number[]>()
  // A result that is a parameter itself, or stands twice among the results, cannot take another's place.
  const taken = new Set<LocalNode>(graph.inputs)
  const results = new Set(graph.outputs)
  graph.outputs.forEach((n, i) => {
    if (taken.has(n)) return
    taken.add(n)
    const own = key(n, graph.outputPlacements[i])
    const places = free.get(own)
    if (places === undefined) free.set(own, [i])
    else places.push(i)
  })
  const pairs = new Map<number, number>()
  for (const c of candidates) {
    const n = graph.inputs[c]
    if (n === undefined || results.has(n)) continue
    const to = free.get(key(n, graph.inputPlacements[c]))?.shift()
    if (to !== undefined) pairs.set(c, to)
  }
  return pairs
}
