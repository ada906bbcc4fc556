/** A device's program → a StableHLO module. */
import { choices, forCpu, type Lowering } from '../core/platform.ts'
import type { LocalGraph, LocalNode, Placement } from '../partition/local.ts'
import { communicates } from '../partition/collectives.ts'
import { flyingRanks, ranks } from './collectives/ranks.ts'
import { replicas } from './collectives/replicas.ts'
import type { CollectiveWriter } from './collectives/writer.ts'
import { emitNodes } from './emit-nodes.ts'
import type { Origin, Replaced } from './scope.ts'
import { typeOfNode, typeText, Writer, type Ssa } from './writer.ts'

/** Where a mesh's devices are: `replicas` of one program in one process, or one on each rank of several processes. */
export type DevicesAs = 'replicas' | 'ranks'
const writers: { readonly [K in DevicesAs]: CollectiveWriter } = { replicas, ranks }

export interface EmitOptions {
  /** Parameter → result pairs whose memory is shared; they must be of one type. */
  readonly donations?: ReadonlyMap<number, number>
  readonly devicesAs?: DevicesAs
  /** Whether collectives between ranks can be under way while a rank computes. */
  readonly overlaps?: boolean
  /** Whether there are our own kernels for programs to call, which they do where that is faster. */
  readonly kernels?: boolean
  /** Whether all products and sums call them, where there are any. */
  readonly batchInvariant?: boolean
  /** The platform that it is for: the CPU, unless said. */
  readonly lowering?: Lowering
}

/** The module's text, one program for all devices. */
export function emit(graph: LocalGraph, { donations = new Map(), devicesAs = 'replicas', overlaps = false, kernels = false, batchInvariant = false, lowering = forCpu }: EmitOptions = {}): string {
  const w = new Writer()
  const collectives = devicesAs === 'ranks' && overlaps ? flyingRanks : writers[devicesAs]
  const args: Ssa[] = graph.inputs.map((n, i) => ({ ...typeOfNode(n), name: `%arg${i}` }))
  const given = new Map<LocalNode, Ssa>(graph.inputs.map((n, i) => [n, args[i] ?? { ...typeOfNode(n), name: '%?' }]))
  if (collectives.ordered && communicates(graph)) w.startToken()
  const outputs = emitNodes(graph.outputs, given, w, { mesh: graph.mesh, collectives, choices: choices[lowering.platform], contractions: lowering.contractions, emitNodes, kernels, tied: kernels && devicesAs === 'replicas' && graph.mesh.size > 1, products: new Map<string, Replaced>(), ...(kernels ? { slices: new Map<string, Required<Origin>>() } : {}), ...(kernels && batchInvariant ? { origins: new Map<string, Origin>() } : {}) })
  const { hostMemory = 'its own' } = choices[lowering.platform]
  const apart = hostMemory !== 'its own' && [...graph.inputPlacements, ...graph.outputPlacements].some(p => p.memory === 'host')
  /** The memory that an argument or a result lies in; of all of them, where one is not the device's. */
  const kind = (placement: Placement | undefined): string[] => (apart ? [`mhlo.memory_kind = "${placement?.memory === 'host' ? hostMemory : 'device'}"`] : [])
  const attributes = (said: readonly string[]): string => (said.length === 0 ? '' : ` {${said.join(', ')}}`)
  const parameters = args.map((a, i) => {
    const to = donations.get(i)
    return `${a.name}: ${typeText(a)}${attributes([...kind(graph.inputPlacements[i]), ...(to === undefined ? [] : [`tf.aliasing_output = ${to} : i32`])])}`
  })
  const types = outputs.map(typeText).join(', ')
  const results = outputs.map((o, i) => typeText(o) + attributes(kind(graph.outputPlacements[i]))).join(', ')
  return [
    'module @meshwork {',
    `  func.func public @main(${parameters.join(', ')}) -> (${results}) {`,
    w.text,
    `    "func.return"(${outputs.map(o => o.name).join(', ')}) : (${types}) -> ()`,
    '  }',
    '}',
    '',
  ].join('\n')
}
