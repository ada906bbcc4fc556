/** Choices that fall away: all devices take their first branch, which is then a part of the body around it, as in the program that runs. */
import type { Node } from '../graph/node.ts'
import { bodiesOf } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import type { LocalNode } from '../partition/local.ts'
import { nowhere, type Looped, type Point } from './points.ts'
import type { BodyWork, Done, Used } from './sketch.ts'

type Bodies = ReadonlyMap<readonly Node[], BodyWork>
const branchOf = ({ node }: Looped, bodies: Bodies): BodyWork | undefined => { const [first] = bodiesOf<Attrs>(node); return first === undefined ? undefined : bodies.get(first.outputs) }

/** The same bodies without choices that fell away. */
export const unfolded = (bodies: Bodies): Bodies => new Map([...bodies].map(([roots, body]) => [roots, body.loops.some(l => l.fallen === true) ? unfoldedBody(body, bodies) : body]))

function unfoldedBody(body: BodyWork, bodies: Bodies): BodyWork {
  const [done, loops, steps]: [Done[], Looped[], BodyWork['steps']] = [[], [], []]
  const uses = new Map<LocalNode, Used[]>()
  /** Adds what a body does, whose inputs are these points; those of its results. */
  const add = (own: BodyWork, given: readonly Point[] | undefined): readonly Point[] => {
    const points = new Map<Point, Point>()
    const kept = new Map<Looped, Looped>()
    const branches = new Map<Looped, readonly Point[]>()
    const made = (p: Point): Point => {
      const needs = p.needs.map(at)
      if (p.given !== undefined && given !== undefined) return { needs: [...needs, given[p.given] ?? nowhere] }
      if (p.loop === undefined) return { ...p, needs }
      if (p.loop.fallen !== true) return { ...p, needs, loop: loopOf(p.loop) }
      return { needs: [...needs, branch(p.loop)[p.result ?? 0] ?? nowhere] }
    }
    const at = (p: Point): Point => {
      const known = points.get(p) ?? made(p)
      points.set(p, known)
      return known
    }
    const loopOf = (l: Looped): Looped => {
      const known = kept.get(l) ?? { ...l, operands: l.operands.map(at) }
      kept.set(l, known)
      return known
    }
    const branch = (l: Looped): readonly Point[] => {
      const inner = branchOf(l, bodies)
      const known = branches.get(l) ?? (inner === undefined ? [] : add(inner, l.operands.slice(1).map(at)))
      branches.set(l, known)
      return known
    }
    for (const l of own.loops) if (l.fallen === true) branch(l); else loops.push(loopOf(l))
    for (const d of own.done) done.push({ ...d, point: at(d.point), inputs: d.inputs?.map(at) })
    steps.push(...own.steps)
    for (const [x, list] of own.uses) uses.set(x, [...uses.get(x) ?? [], ...list.map(u => ({ ...u, points: u.points.map(at) }))])
    return own.outputs.map(at)
  }
  const outputs = add(body, undefined)
  return { ...body, done, loops, steps, uses, outputs }
}
