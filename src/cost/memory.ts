/**
 * What a device's program takes in memory, found without compiling it: arguments and results as they are, and the least heap for what lies between them, by the lifetimes
 * that XLA's scheduler, fusion and buffer assignment for CPUs give. Compilers for accelerators fuse more and order by memory, so theirs is rarely more.
 */
import { choices, type Written } from '../core/platform.ts'
import { typeOf } from '../graph/node.ts'
import type { LocalGraph, LocalNode } from '../partition/local.ts'
import { bytesOf, kernelsOf, seen } from './kernels.ts'
import { atPeak, heapSize, without, type Lent } from './packing.ts'
import { makerOf, mayReplace } from './schedule.ts'
import { Timeline, type Span } from './timeline.ts'

/** Bytes on one device, as a compiler's statistics have them: aliased results lie where arguments did. */
export interface Memory {
  readonly arguments: number
  readonly outputs: number
  readonly aliased: number
  readonly temporaries: number
  /** All of it together. */
  readonly peak: number
  /** What lies with the host between runs, in none of these. */
  readonly host: number
  /** What the temporaries are when most of them lie there, the largest first. */
  readonly largest: readonly Pick<Span, 'bytes' | 'type' | 'node'>[]
}

/** What lies in memory beside arguments and results, moment by moment. */
export interface Lying {
  /** What runs at each moment: a loop's body has its moments once, after that of the loop itself. */
  readonly running: readonly (LocalNode | undefined)[]
  readonly spans: readonly Readonly<Span>[]
}

/** `donations`: by the number of an input that the program takes over, the number of the output that lies in its place. `written`: for which platform; CPUs attend by our own kernel, which holds no scores. */
export function memoryOf(graph: LocalGraph, donations: ReadonlyMap<number, number>, written: Written = choices.cpu): Memory & { readonly lying: Lying } {
  const { kernels } = kernelsOf(graph.outputs, [], new Set(), written)
  const time = new Timeline(written)
  const given = new Map<LocalNode, Span>()
  const homes = new Map<LocalNode, Span>()
  const lent: { readonly home: Span; readonly input?: Span }[] = []
  const made = new Map(kernels.map(k => [k.node, k]))
  const results = graph.outputs.map(o => ({ at: seen(o), maker: made.get(makerOf(seen(o))) }))
  graph.inputs.forEach((p, i) => {
    const { at, maker } = results[donations.get(i) ?? -1] ?? {}
    // A result whose place is still read, by what need not be done before, cannot take it: then what is read is a copy.
    const copied = donations.has(i) && !(maker !== undefined && mayReplace(p, maker, kernels))
    const input = copied ? time.take(typeOf(p), p) : time.lend(p)
    given.set(p, input)
    if (at === undefined || maker === undefined || homes.has(at)) return
    const home = time.lend(p)
    homes.set(at, home)
    lent.push({ home, ...(copied ? {} : { input }) })
  })
  const taken = new Set(donations.values())
  results.forEach(({ at, maker }, i) => {
    if (taken.has(i) || maker === undefined || homes.has(at)) return
    const home = time.lend(at)
    homes.set(at, home)
    lent.push({ home })
  })
  time.run({ body: graph, given, homes })

  const rooms = lent.map(({ home, input }): Lent => ({ bytes: home.bytes, taken: [{ from: home.from, to: time.now }, ...(input === undefined ? [] : [{ from: 0, to: input.to }])] }))
  const rest = without(time.spans, rooms)
  const total = (nodes: readonly LocalNode[]): number => nodes.reduce((n, x) => n + bytesOf(typeOf(x)), 0)
  const onDevice = graph.inputs.map((_, i) => graph.inputPlacements[i]?.memory === undefined)
  const away = graph.inputs.filter((_, i) => !onDevice[i])
  const [entering, aliased] = [total(graph.inputs.filter((_, i) => onDevice[i])), total([...donations.keys()].flatMap(i => (onDevice[i] === true ? graph.inputs.slice(i, i + 1) : [])))]
  const leaving = total(graph.outputs.filter((_, i) => graph.outputPlacements[i]?.memory === undefined))
  // Of what lies with the host one is being used while the next one comes, or the last one goes.
  const passing = 2 * Math.max(0, ...away.map(n => bytesOf(typeOf(n))))
  const temporaries = heapSize(rest) + passing
  return { arguments: entering, outputs: leaving, aliased, temporaries, host: total(away), peak: entering + leaving - aliased + temporaries, largest: atPeak(rest).sort((a, b) => b.bytes - a.bytes), lying: { running: time.running, spans: rest } }
}
