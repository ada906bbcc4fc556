/** A device's program → a StableHLO module. */
import type { LocalGraph, LocalNode } from '../partition/local.ts'
import { emitNodes } from './emit-nodes.ts'
import { typeOfNode, typeText, Writer, type Ssa } from './writer.ts'

/**
 * The module's text, one program for all devices. `donations` gives parameter → result pairs whose memory is shared; they
 * must be of one type.
 */
export function emit(graph: LocalGraph, donations: ReadonlyMap<number, number> = new Map()): string {
  const w = new Writer()
  const args: Ssa[] = graph.inputs.map((n, i) => ({ ...typeOfNode(n), name: `%arg${i}` }))
  const given = new Map<LocalNode, Ssa>(graph.inputs.map((n, i) => [n, args[i] ?? { ...typeOfNode(n), name: '%?' }]))
  const outputs = emitNodes(graph.outputs, given, w, graph)
  const parameters = args.map((a, i) => {
    const to = donations.get(i)
    return `${a.name}: ${typeText(a)}${to === undefined ? '' : ` {tf.aliasing_output = ${to} : i32}`}`
  })
  const types = outputs.map(typeText).join(', ')
  return [
    'module @meshwork {',
    `  func.func public @main(${parameters.join(', ')}) -> (${types}) {`,
    w.text,
    `    "func.return"(${outputs.map(o => o.name).join(', ')}) : (${types}) -> ()`,
    '  }',
    '}',
    '',
  ].join('\n')
}
