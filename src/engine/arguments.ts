/** The arguments of one call: checked at once, and brought to where the program wants them. */
import type { TypedArray } from '../core/dtype.ts'
import { DimError } from '../core/errors.ts'
import type { Mesh } from '../core/mesh.ts'
import { inOrderOf, treeOps, type TreeForm } from '../core/tree.ts'
import type { Placement } from '../partition/local.ts'
import type { Arguments, Backend, CallSite, DeviceBuffer } from '../runtime/backend.ts'
import { MeshArray, present } from './array.ts'
import type { Held } from './held.ts'
import { hostValues, type HostValue } from './host.ts'
import { liesWell, moved } from './move.ts'
import { lay, type Source } from './place.ts'

/** An array over a mesh, host data, or what makes the host data of a part. */
export type Leaf = MeshArray | HostValue | Source

/** What a program expects of its callers. */
export interface Expected {
  readonly inputs: readonly ExpectedInput[]
  readonly form: TreeForm
  /** Which of them it takes over. */
  readonly donated: ReadonlySet<number>
  readonly mesh: Mesh
  readonly backend: Backend
}

export interface ExpectedInput {
  readonly path: string
  readonly placement: Placement
  /** Placements of arrays of the same mesh that fit it, found so far: a program is given the results of the same programs again and again. */
  readonly fitting: WeakSet<Placement>
}

export interface CallArguments {
  /** By device of this process and parameter; later, where something has to be brought there first. */
  readonly buffers: Arguments | Promise<Arguments>
  /** The program has taken them: donated arrays are gone. */
  accepted(): void
  /** Lets go of what was held for the call, whether or not it was accepted. */
  release(): void
}

const isGiven = (x: unknown): x is Leaf => x instanceof MeshArray || ['number', 'bigint', 'boolean', 'function'].includes(typeof x) || ArrayBuffer.isView(x)
const givens = treeOps(isGiven, 'an array')

/** Checks everything that can be known before anything starts, so that a call that is refused has changed nothing. @throws DimError */
export function argumentsOf(given: unknown, expected: Expected, at: CallSite): CallArguments {
  const { inputs, donated, mesh, backend } = expected
  const leaves = givens.read(expected.form, given) ?? inOrderOf(givens.flatten(given), inputs.map(i => i.path))?.map(l => l.leaf)
  if (leaves === undefined) {
    const found = givens.flatten(given)
    throw new DimError({ code: 'argument-form', what: 'the arguments have another form than the program was compiled for', details: { expected: inputs.map(i => i.path).join(' '), given: found.map(l => l.path).join(' ') }, fix: 'give trees with the same keys as those it was compiled with', at: at() })
  }
  const held: MeshArray[] = []
  const temporary: MeshArray[] = []
  const moves = leaves.map((leaf, i): MeshArray | (() => Promise<MeshArray>) => {
    const { path, placement, fitting } = inputs[i] as ExpectedInput
    const what = `argument ${path}`
    if (leaf instanceof MeshArray) {
      leaf.checkUsable(what, at)
      held.push(leaf)
      const near = leaf.backend === backend && leaf.mesh === mesh
      if (near && fitting.has(leaf.placement)) return leaf
      const target = { backend, mesh, placement, what, at }
      if (!liesWell(leaf, target)) return () => moved(leaf, target)
      if (near) fitting.add(leaf.placement)
      return leaf
    }
    const data: TypedArray | Source = typeof leaf === 'function' ? leaf : hostValues(leaf, { ...placement, what, at })
    return () => lay(backend, mesh, placement, data, what, at)
  })
  checkDonations(leaves, expected, at)
  for (const array of held) array.held.hold()
  const claims = (each: (claimed: Held, to: string) => void): void => {
    for (const i of donated) {
      const leaf = leaves[i]
      if (leaf instanceof MeshArray) each(leaf.held, inputs[i]?.path ?? '')
    }
  }
  claims((claimed, to) => { claimed.claimed = to })

  let released = false
  const brought = async (move: () => Promise<MeshArray>): Promise<MeshArray> => {
    const array = await move()
    if (released) array.dispose()
    temporary.push(array)
    return array
  }
  const rows = (arrays: readonly MeshArray[]): Arguments =>
    (arrays[0]?.held.buffers ?? backend.addressable.filter(d => d < mesh.size)).map((_, device): DeviceBuffer[] => arrays.map(a => present(a.held.buffers[device])))
  const buffers = moves.every(m => m instanceof MeshArray) ? rows(moves) : all(moves.map(m => (m instanceof MeshArray ? m : brought(m)))).then(rows)
  // Who runs the program hears of it; but a closed backend does not listen.
  if (buffers instanceof Promise) buffers.catch(() => {})
  return {
    buffers,
    accepted() { claims((taken, to) => { taken.end({ how: 'donated', to }) }) },
    release() {
      released = true
      claims(claimed => { claimed.claimed = undefined })
      for (const array of held) array.held.release()
      // The program holds what it was given; what was brought there for it alone is no one else's.
      for (const array of temporary) array.dispose()
    },
  }
}

/** As `Promise.all`, but waits for all also where one fails: what they make has to be freed. What is there needs no promise: that is most of what a step is given. */
async function all<T>(work: readonly (T | Promise<T>)[]): Promise<T[]> {
  const ends = await Promise.allSettled(work.filter(w => w instanceof Promise))
  const failed = ends.find(e => e.status === 'rejected')
  if (failed !== undefined) throw failed.reason
  const brought = ends.values()
  return work.map(w => (w instanceof Promise ? (brought.next().value as PromiseFulfilledResult<T>).value : w))
}

/** What a program takes over can be nothing else of the same call. */
function checkDonations(leaves: readonly Leaf[], { inputs, donated }: Expected, at: CallSite): void {
  if (donated.size === 0) return
  const pathOf = (i: number): string => inputs[i]?.path ?? ''
  const twice: (readonly [number, number])[] = []
  // Each array is told its place, and forgets it again: a table of all of them would be made anew for each step.
  for (let i = 0; i < leaves.length; i++) {
    const leaf = leaves[i]
    if (!(leaf instanceof MeshArray)) continue
    const { held } = leaf
    if (held.place === undefined) held.place = i
    else twice.push([held.place, i])
  }
  for (const leaf of leaves) if (leaf instanceof MeshArray) leaf.held.place = undefined
  for (const [before, i] of twice) {
    if (!donated.has(before) && !donated.has(i)) continue
    const taken = pathOf(donated.has(before) ? before : i)
    throw new DimError({
      code: 'donated-twice', what: `one array is argument ${pathOf(before)} and argument ${pathOf(i)}, and the program takes over argument ${taken}`,
      fix: 'give an array of its own for each, or compile the program without donating it', at: at(),
    })
  }
}
