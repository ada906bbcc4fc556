/** Which values are kept for the gradient of a loop or of `remat`; what is not kept is computed again (Chen et al. 2016). */
import { names } from '../core/dim.ts'
import { isBits } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { bodiesOf, dtypeOf, operand, reachable, shapeOf, type Node } from '../graph/node.ts'
import { userSite } from '../core/site.ts'

/**
 * What is computed again: `everything`, so that only what enters is kept; `nothing`; `all-but-contractions` with weights, which
 * in the layers of a Transformer are what all-reduces follow, so that none of these is repeated. What only moves elements along a split dim
 * (`roll`, `shift`, slices, `relayout`) is moved again: mark it with `named` to keep it. Or all but the tensors that `named` marks with one of the names to `keep`. What is to
 * `offload` by its name lies in the host's memory in between, where the platform has it; on a CPU that is the device's.
 */
export type Remat = 'everything' | 'nothing' | 'all-but-contractions' | { readonly keep: readonly string[] } | { readonly offload: readonly string[] }
export interface Keep {
  (n: Node): boolean
  /** Of what is named and kept, whether it lies with the host in between. */
  readonly offloads?: (n: Node) => boolean
}

/** A parameter, or what one is computed with. */
const isWeight = (n: Node): boolean => (n.op === 'input' ? n.attrs.role === 'params' : n.op === 'convert' && isWeight(operand(n, 0)))
/** A convolution, or a contraction against a weight: no dim is shared, or as of experts it is a parameter, so it is where the work and the collectives are. Scores of attention are not. */
const isWeightContraction = (n: Node): boolean => n.op === 'conv' || (n.op === 'dot' && isWeightDot(n))
function isWeightDot(n: Node<'dot'>): boolean {
  if (isWeight(operand(n, 1))) return true
  const right = names(shapeOf(operand(n, 1))).filter(d => d !== n.attrs.each)
  return names(shapeOf(operand(n, 0))).every(d => n.attrs.over.includes(d) || !right.includes(d))
}
/** A contraction against a weight of matrices: both sides have dims of their own. */
export function isWeightProduct(n: Node<'dot'>): boolean {
  const [a, b] = [names(shapeOf(operand(n, 0))), names(shapeOf(operand(n, 1)))]
  return n.attrs.over.length > 0 && isWeightDot(n) && a.some(d => !b.includes(d)) && b.some(d => !a.includes(d))
}

/** One, or what it was narrowed to: half of the memory holds that. */
const isNarrowedContraction = (n: Node): boolean => isWeightContraction(n.op === 'convert' && isBits(dtypeOf(n)) ? operand(n, 0) : n)

/** Where the result of one is laid out otherwise, that is what is kept: the collective that moves it reduces it, too. So is what says that it is costly. */
const isLaidContraction = (n: Node): boolean => {
  if (n.op === 'customGradient') return n.attrs.costly === true
  const [x] = n.op === 'relayout' ? n.inputs : []
  return isNarrowedContraction(n) || (x !== undefined && isNarrowedContraction(x))
}

/**
 * What a loop within a loop stacks for its own gradient: what is kept of a turn, and what enters it; and what a choice keeps for its own. Else all of that loop would run again for either. Under its own name where the
 * stacked value has a dim of the loop's name, and is called otherwise there.
 */
const withStacks = (keep: Keep): Keep => {
  const kept = (n: Node): boolean => {
    if (keep(n)) return true
    const loop = n.op === 'project' ? operand(n, 0) : undefined
    if (loop?.op === 'cond') {
      const value = loop.attrs.atWork !== undefined && n.op === 'project' ? loop.attrs.yes.outputs[n.attrs.index] : undefined
      return value !== undefined && kept(value)
    }
    if (n.op !== 'project' || loop?.op !== 'scan' || n.attrs.index < loop.attrs.carries) return false
    const { body, carries } = loop.attrs
    const stacked = body.outputs[n.attrs.index]
    const value = bare(stacked)
    return value !== undefined && (body.inputs.slice(0, carries).some(p => p === value) || kept(value))
  }
  return kept
}

/** What is stacked, before it was called otherwise or moved. */
const bare = (n: Node | undefined): Node | undefined => (n?.op === 'rename' || n?.op === 'stored' ? bare(operand(n, 0)) : n)

const policies = {
  everything: () => false,
  nothing: () => true,
  'all-but-contractions': withStacks(isLaidContraction),
} satisfies { readonly [policy: string]: Keep }

/** Whether no collective is to be repeated: what partition finds to be one of the values that are computed again is kept, too. */
export const keepsCollectives = (keep: Keep): boolean => keep === policies['all-but-contractions']

const namesIn = (roots: readonly Node[]): string[] =>
  reachable(roots).flatMap(n => [...n.op === 'named' ? [n.attrs.name] : [], ...bodiesOf(n).flatMap(body => namesIn(body.outputs))])

/**
 * What to keep of the values that lead to `roots`. Names may also be of what lies before them, at `further`.
 * @throws DimError for a name that no tensor has
 */
export function keeper(policy: Remat, roots: readonly Node[], further: readonly Node[] = roots): Keep {
  const lists = typeof policy === 'object' && policy !== null ? Object.values(policy) : []
  if (typeof policy === 'string' ? !Object.hasOwn(policies, policy) : lists.length !== 1 || !lists.every(Array.isArray) || !Object.keys(policy).every(k => k === 'keep' || k === 'offload')) {
    throw new DimError({ code: 'option', what: `remat: there is no policy ${typeof policy === 'string' ? `"${policy}"` : JSON.stringify(policy)}`, fix: `give one of: ${Object.keys(policies).join(', ')}, { keep: [names] } or { offload: [names] }`, at: userSite() })
  }
  if (typeof policy === 'string') return policies[policy]
  const [wanted = []] = lists as (readonly string[])[]
  const near = new Set(namesIn(roots))
  const known = wanted.every(name => near.has(name)) ? near : new Set(namesIn(further))
  for (const name of wanted) {
    if (known.has(name)) continue
    throw new DimError({ code: 'unknown-name', what: `remat: no tensor is named "${name}"`, fix: known.size === 0 ? 'mark it with named(x, …)' : didYouMean(name, known), at: userSite() })
  }
  const kept = new Set(wanted)
  const isKept = (n: Node): boolean => n.op === 'named' && kept.has(n.attrs.name)
  return 'offload' in policy ? Object.assign(withStacks(isKept), { offloads: isKept }) : withStacks(isKept)
}
