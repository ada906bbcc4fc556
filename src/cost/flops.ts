/** Floating-point operations of a program: those of its products and convolutions, two for each product of numbers. */
import { productFlops } from '../graph/flops.ts'
import type { Graph } from '../graph/ops.ts'
import type { LocalBody, LocalNode } from '../partition/local.ts'
import { turnsOf } from './turns.ts'

const own = (n: LocalNode): number => (n.op === 'dot' || n.op === 'conv' ? productFlops(n) : 0)

/** What a device computes in a run, what is computed again and what is masked afterwards included; blocks of attention that are skipped are not. */
export const localFlops = (graph: LocalBody): number => Math.round([...turnsOf(graph, own)].reduce((sum, [n, times]) => sum + times * own(n), 0))

/** The same of a program before it is split: loops, choices and products are the same in both languages. */
export const globalFlops = (graph: Graph): number => localFlops(graph as unknown as LocalBody)
