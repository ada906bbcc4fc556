/**
 * What the software of a table's time reaches of what a machine's figures say: six factors, fitted to few of its rows. Few rows do not tell six numbers, so each counts against a factor that is far from 1 (a maximum
 * a posteriori estimate, with normal logarithms of so wide a `spread`); none goes beyond a specification.
 */
import type { Links, Machine, Points } from '../../../src/machine/machine.ts'
import { fitted, surprise, type Believed, type Constants } from '../fit.ts'

const factor = (name: string, least: number, most: number, spread: number): Believed => ({ name, least, most, start: 1, spread })

/** Rates of products and of memory, of attention as one kernel there and back, whose published rates are of other kernels, how long collectives within a host wait before the first byte, and how fast those between hosts are. */
export const factors: readonly Believed[] = [factor('product', 0.5, 1.3, 0.15), factor('memory', 0.4, 1.3, 0.2), factor('attention', 0.25, 4, 0.5), factor('attentionBack', 0.25, 4, 0.5), factor('latency', 0.1, 30, 1), factor('between', 0.1, 1.5, 0.5)]
/** A machine as it is said. */
export const asSaid: Constants = Object.fromEntries(factors.map(f => [f.name, 1]))

/** The machine by these factors: no rate is above its peak, since a price never is. */
export function scaled(machine: Machine, values: Constants): Machine {
  const of = (name: string): number => {
    const value = values[name]
    if (value === undefined) throw new Error(`there is no factor ${name}`)
    return value
  }
  const times = (points: Points, by: number): Points => points.map(([x, y]) => [x, y * by])
  const rates = Object.entries(machine.products).map(([dtype, list]) => [dtype, list?.map(r => ({ ...r, points: times(r.points, of('product')) }))])
  const costs = machine.vector.costs
  return {
    ...machine, products: Object.fromEntries(rates) as Machine['products'], bandwidth: { ...machine.bandwidth, points: times(machine.bandwidth.points, of('memory')) }, links: { within: later(machine.links.within, of('latency')), between: machine.links.between === null ? null : faster(machine.links.between, of('between')) },
    vector: { ...machine.vector, costs: { ...costs, attention: (costs['attention'] ?? 1) / of('attention'), attentionBack: (costs['attentionBack'] ?? 1) / of('attentionBack') } },
  }
}

/** Links whose first byte takes so many times as long: of measured times the least is what they wait. */
function later(links: Links, by: number): Links {
  const times = Object.entries(links.times).map(([kind, list]) => [kind, list?.map(t => ({ ...t, points: t.points.map(([bytes, us]): [number, number] => [bytes, us + (by - 1) * (t.points[0]?.[1] ?? 0)]) }))])
  return { ...links, latencyUs: links.latencyUs * by, times: Object.fromEntries(times) as Links['times'] }
}

/** Links of which collectives reach so many times as much; a price is never faster than they are by specification. */
function faster(links: Links, by: number): Links {
  const share = Object.entries(links.share).map(([kind, of]) => [kind, Math.min(1, (of ?? 1) * by)])
  const times = Object.entries(links.times).map(([kind, list]) => [kind, list?.map(t => ({ ...t, points: t.points.map(([bytes, us]): [number, number] => [bytes, us / by]) }))])
  return { ...links, share: Object.fromEntries(share) as Links['share'], times: Object.fromEntries(times) as Links['times'] }
}

/** The factors of least error and least distance from what the machine says; `errorOf` is the mean error of the sample in percent, of so many `rows`: 4 % is what is to be reached. */
export const fittedFactors = (errorOf: (values: Constants) => number, rows: number): Constants => fitted(factors, values => errorOf(values) + surprise(factors, values, rows, 4), 3, 150).values
