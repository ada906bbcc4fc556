/** Which collectives of a loop that computes again another loop has brought before, in a sketch: see partition/passes/reuse.ts. */
import type { Make } from '../graph/node.ts'
import type { LocalAttrs, LocalNode } from '../partition/local.ts'
import { counterparts, type LocalScan } from '../partition/passes/reuse.ts'
import type { Looped } from './points.ts'
import type { BodyWork, Step } from './sketch.ts'

type Images = Map<LocalNode, LocalNode>
const leaves: ReadonlySet<string> = new Set(['constant', 'iota', 'axisIndex'])

/** The node made of what stands for its leaves in another body; undefined where nothing does. */
export function rebuilt(n: LocalNode, images: ReadonlyMap<LocalNode, LocalNode>, make: Make<LocalAttrs>): LocalNode | undefined {
  const known = images.get(n)
  if (known !== undefined || leaves.has(n.op)) return known ?? n
  if (n.inputs.length === 0) return undefined
  const inputs = n.inputs.flatMap(i => rebuilt(i, images, make) ?? [])
  return inputs.length < n.inputs.length ? undefined : make(n.op, inputs, n.attrs, n.site)
}

/** What a rule that was applied here gives there, looked up by what its operands are there. */
export function imageOf(step: Step, images: Images, make: Make<LocalAttrs>): readonly (LocalNode | undefined)[] {
  const key = step.given.map(g => images.get(g)?.id ?? '').join()
  const found = step.images.get(key) ?? step.made.map(m => rebuilt(m, images, make))
  step.images.set(key, found)
  return found
}

/** A stand-in may show of what it is made; so does what it is there. */
export function put(images: Images, n: LocalNode, image: LocalNode): void {
  images.set(n, image)
  const [x, y] = [n.inputs[0], image.inputs[0]]
  if (n.op === image.op && n.inputs.length === 1 && x !== undefined && y !== undefined) put(images, x, y)
}

/** By each collective in `work` of the loop that computes again, the one in the body of the loop that it follows. */
export function repeated(loop: Looped & { readonly local: LocalScan }, work: BodyWork, first: Looped & { readonly local: LocalScan }, before: BodyWork, make: Make<LocalAttrs>): ReadonlyMap<LocalNode, LocalNode> {
  const stands = new Map<LocalNode, LocalNode>()
  for (const { made, stands: own } of before.steps) made.forEach((m, i) => { const s = own[i]; if (s !== undefined) stands.set(m, s) })
  const images: Images = new Map()
  for (const [n, image] of counterparts(loop.local, first.local, x => { const index = first.results.indexOf(x); return index < 0 ? undefined : index })) put(images, n, image)
  // What a rule only passes on is there as what it was given.
  const passed = new Set(before.steps.flatMap(s => s.given))
  for (const step of work.steps) {
    imageOf(step, images, make).forEach((image, i) => {
      const own = step.stands[i]
      const there = image === undefined ? undefined : stands.get(image) ?? (passed.has(image) ? image : undefined)
      if (own !== undefined && there !== undefined) put(images, own, there)
    })
  }
  const known = new Set(before.done.map(d => d.node))
  return new Map(work.done.flatMap(({ node }) => {
    const image = rebuilt(node, images, make)
    return image !== undefined && known.has(image) ? [[node, image] as const] : []
  }))
}
