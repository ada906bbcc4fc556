/** Choices that fall away: all devices take their first branch, which is then a part of the body around it, as in the program that runs. */
import type { Node } from '../graph/node.ts'
import { bodiesOf, type Make } from '../graph/node.ts'
import type { Attrs } from '../graph/ops.ts'
import type { LocalAttrs, LocalNode } from '../partition/local.ts'
import { nowhere, type Looped, type Point } from './points.ts'
import { imageOf, put, rebuilt } from './reuse.ts'
import type { BodyWork, Done, Step, Used } from './sketch.ts'

type Bodies = ReadonlyMap<readonly Node[], BodyWork>
const branchOf = ({ node }: Looped, bodies: Bodies): BodyWork | undefined => { const [first] = bodiesOf<Attrs>(node); return first === undefined ? undefined : bodies.get(first.outputs) }

/** The same bodies without choices that fell away. */
export const unfolded = (bodies: Bodies, make: Make<LocalAttrs>): Bodies => new Map([...bodies].map(([roots, body]) => [roots, body.loops.some(l => l.fallen === true) ? unfoldedBody(body, bodies, make) : body]))

/** Rules that were applied in a body, those in branches that fell away where these stood. */
function stepsIn(own: BodyWork, bodies: Bodies): readonly Step[] {
  const fallen = own.loops.filter(l => l.fallen === true)
  const before = (at: number): readonly Step[] => fallen.filter(l => (l.step ?? 0) === at).flatMap(l => { const b = branchOf(l, bodies); return b === undefined ? [] : stepsIn(b, bodies) })
  return [...own.steps.flatMap((step, at) => [...before(at), step]), ...before(own.steps.length)]
}

/**
 * By each stand-in of a body, the one that stands for the same: two branches that compute the same of the same, as a pipeline's head does on its way and on the way back, are one in the program that runs. Each step is made again of what its
 * operands are, and who has made the same before is it.
 */
function same(body: BodyWork, bodies: Bodies, make: Make<LocalAttrs>): Map<LocalNode, LocalNode> {
  const images = new Map<LocalNode, LocalNode>()
  const stands = new Map<LocalNode, LocalNode>()
  for (const step of stepsIn(body, bodies)) {
    for (const g of step.given) if (!images.has(g)) put(images, g, g)
    imageOf(step, images, make).forEach((m, i) => {
      const stand = step.stands[i]
      if (m === undefined || stand === undefined || images.has(stand)) return
      const known = stands.get(m) ?? stand
      stands.set(m, known)
      put(images, stand, known)
    })
  }
  return images
}

function unfoldedBody(body: BodyWork, bodies: Bodies, make: Make<LocalAttrs>): BodyWork {
  const images = same(body, bodies, make)
  const image = (n: LocalNode): LocalNode => rebuilt(n, images, make) ?? n
  const [done, loops]: [Done[], Looped[]] = [[], []]
  // What stands for the same is one here, so each is made of what its operands are one with.
  const steps = stepsIn(body, bodies).map((step): Step => ({ given: step.given.map(image), made: step.made.map(image), stands: step.stands.map(image), images: new Map() }))
  const uses = new Map<LocalNode, Used[]>()
  /** Adds what a body does, whose inputs are these points; those of its results. */
  const add = (own: BodyWork, given: readonly Point[] | undefined): readonly Point[] => {
    const points = new Map<Point, Point>()
    const kept = new Map<Looped, Looped>()
    const branches = new Map<Looped, readonly Point[]>()
    const made = (p: Point): Point => {
      const needs = p.needs.map(at)
      if (p.given !== undefined && given !== undefined) return { needs: [...needs, given[p.given] ?? nowhere] }
      if (p.loop === undefined) return { ...p, needs, ...(p.work === undefined || typeof p.work === 'string' ? {} : { work: image(p.work) }) }
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
    for (const d of own.done) done.push({ ...d, node: image(d.node), results: d.results.map(image), readers: d.readers?.map(image), point: at(d.point), inputs: d.inputs?.map(at) })
    for (const [x, list] of own.uses) {
      const to = image(x)
      uses.set(to, [...uses.get(to) ?? [], ...list.map(u => ({ ...u, results: u.results.map(image), points: u.points.map(at) }))])
    }
    return own.outputs.map(at)
  }
  const outputs = add(body, undefined)
  return { ...body, done, loops, steps, uses, results: body.results.map(image), outputs }
}
