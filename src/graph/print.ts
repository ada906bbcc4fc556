/** Graphs as text: a line a node, dims by name, collectives in plain sight. */
import type { Dim } from '../core/dim.ts'
import { formatShape } from '../core/dim.ts'
import { namedBodies, reachable, type GraphOf, type NodeOf, type TensorType } from './node.ts'

const formatType = (t: TensorType): string => `${t.dtype}[${formatShape(t.shape)}]`
export const formatDims = (shape: readonly Dim[]): string => formatShape(shape)

/** The text of a graph in any language of ops; `describe` says an op's name and attributes as the reader should see them. */
export function printGraph<A>(graph: GraphOf<A>, describe: (n: NodeOf<A>) => string, indent = ''): string {
  const order = reachable([...graph.inputs, ...graph.outputs])
  const number = new Map<NodeOf<A>, string>()
  graph.inputs.forEach((n, i) => number.set(n, `%in${i}`))
  const lines: string[] = graph.inputs.map(n => `${indent}${number.get(n)} = ${describe(n)} : ${n.results.map(formatType).join(', ')}`)
  const operands = (n: NodeOf<A>): string => (n.inputs.length === 0 ? '' : `(${n.inputs.map(i => number.get(i) ?? '?').join(', ')})`)
  let next = 0
  for (const n of order) {
    if (number.has(n)) continue
    number.set(n, `%${next++}`)
    lines.push(`${indent}${number.get(n)} = ${describe(n)}${operands(n)} : ${n.results.map(formatType).join(', ')}`)
    const bodies = namedBodies(n)
    for (const [name, body] of bodies) {
      if (bodies.length > 1) lines.push(`${indent} ${name}:`)
      lines.push(printGraph(body, describe, `${indent}  `))
    }
  }
  lines.push(`${indent}return ${graph.outputs.map(n => number.get(n) ?? '?').join(', ')}`)
  return lines.join('\n')
}
