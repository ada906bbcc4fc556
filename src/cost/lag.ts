/** What devices that share a host's cores wait for each other beside what they compute: the last to come to a collective is the later, the more each has computed since the one before. */
import type { Points } from '../machine/machine.ts'
import { at } from './curve.ts'

/** Microseconds of one wait; of less than was measured, in proportion. */
export const lagUs = (points: Points, computedUs: number): number => {
  const [first] = points
  return first === undefined || computedUs <= 0 ? 0 : computedUs < first[0] ? first[1] * computedUs / first[0] : at(points, computedUs)
}

/** Kernels of a step that run equally often: what they take in all, and how many collectives are among them that computation waits for. */
export interface Often { readonly times: number; ms: number; waits: number }

/**
 * Milliseconds of a step. What runs equally often is taken to lie evenly between the collectives that do; where there are none, it lies between those that run less often, as a loop without any does in the
 * body around it. At a step's end all wait once.
 */
export function lagMs(points: Points, kernels: Iterable<Readonly<Often>>): number {
  let [sum, carried] = [0, 0]
  const wait = (times: number, ms: number): void => { sum += times * lagUs(points, 1000 * ms / times) / 1000 }
  for (const { times, ms, waits } of [...kernels].filter(k => k.times > 0).sort((a, b) => b.times - a.times)) {
    carried += ms
    if (waits === 0) continue
    wait(waits * times, carried)
    carried = 0
  }
  if (carried > 0) wait(1, carried)
  return sum
}
