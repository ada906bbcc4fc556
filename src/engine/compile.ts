/** The one place where the stages meet: a function over tensors becomes a program over arrays. */
import type { Dim } from '../core/dim.ts'
import { DimError, LayoutError, MeshworkError } from '../core/errors.ts'
import { ownLines, siteOf, userSite } from '../core/site.ts'
import type { Layouts } from '../core/layout.ts'
import { formatMesh, type Mesh } from '../core/mesh.ts'
import { forCpu, type Lowering } from '../core/platform.ts'
import { build, treeOps, type TreeOps } from '../core/tree.ts'
import { mergeScans } from '../autodiff/merge-scans.ts'
import { inlined } from '../autodiff/remat.ts'
import { make } from '../graph/make.ts'
import { reachable, type Node } from '../graph/node.ts'
import type { Graph } from '../graph/ops.ts'
import { prune } from '../graph/prune.ts'
import { isTensor, leavesOf } from '../graph/tensor.ts'
import type { AnyTensor, Tree } from '../graph/types.ts'
import { collectives, type Collective } from '../partition/collectives.ts'
import type { LocalGraph, Placement } from '../partition/local.ts'
import { partition } from '../partition/partition.ts'
import { isOrdered } from '../partition/ties.ts'
import type { Wire } from '../partition/passes/wire.ts'
import type { Backend, CompileRequest, Executable, MemoryStats, TracedExecutable } from '../runtime/backend.ts'
import { emit } from '../stablehlo/emit.ts'
import { argumentsOf, type Leaf } from './arguments.ts'
import { bytesOn, MeshArray, present } from './array.ts'
import { donationPairs } from './donate.ts'
import { collected } from './held.ts'
import { checkMemories, lyingWhere } from './room.ts'

type TreeOf<T> = T | readonly TreeOf<T>[] | { readonly [k: string]: TreeOf<T> }
/** What may stand where an argument has a tensor: an array over the mesh, or host data that is laid out on the way in, or what makes them. */
export type Given<T> = Tree extends T ? TreeOf<Leaf> : T extends AnyTensor ? Leaf : { readonly [K in keyof T]: Given<T[K]> }
/** Where a result has a tensor, an array. */
export type Arrays<T> = Tree extends T ? TreeOf<MeshArray> : T extends AnyTensor ? MeshArray : { readonly [K in keyof T]: Arrays<T[K]> }
/** Where an argument has a tensor, how an array lies that is given for it. */
export type Placements<T> = Tree extends T ? TreeOf<Placement> : T extends AnyTensor ? Placement : { readonly [K in keyof T]: Placements<T[K]> }
type GivenAll<A extends readonly unknown[]> = { readonly [K in keyof A]: Given<A[K]> }

export interface CompileOptions<N extends string = string> extends Layouts<string, string, N> {
  readonly mesh: Mesh
  readonly backend: Backend
  /** Dims that the layout may name though this program lacks them: another program of the same model has them. */
  readonly dims?: { readonly [name: string]: Dim }
  /** In what numbers cross an axis, where not as they are: `{ data: 'bf16' }` rounds what is summed and gathered along it, gradients and parameters of FSDP. Results then depend on the mesh by as much. */
  readonly wire?: Wire | undefined
  /** Positions of arguments whose arrays the program takes over, so that results of the same type lie in their place. */
  readonly donate?: readonly number[]
  /**
   * No bit of what is computed along a dim may depend on how long it is, as far as the backend can promise it: products are our own kernels', which sum every number in one order.
   * Shapes that differ then compute the same rows.
   */
  readonly batchInvariant?: boolean
}

/** What a program will do, before and after it is compiled. */
export interface Plan<A extends readonly Tree[] = readonly Tree[]> {
  readonly graph: Graph
  /** The program of one device: print it with `printLocal`. */
  readonly local: LocalGraph
  /** As StableHLO; written when it is first asked for. */
  readonly text: string
  readonly collectives: readonly Collective[]
  readonly inputs: readonly { readonly path: string; readonly placement: Placement }[]
  /** By the number of an input that is taken over, that of the output that lies in its place. */
  readonly donations: ReadonlyMap<number, number>
  /** How the inputs lie, in the form of the arguments. */
  readonly placements: { readonly [I in keyof A]: Placements<A[I]> }
}

export interface Program<A extends readonly Tree[], R extends Tree> extends Plan<A> {
  /**
   * Queues a run. Resolves to the results before they are computed: their `read()` and `item()` wait for them. Calls run in their order,
   * whether or not they are awaited; where several are out already, the next resolves when one of them is done. An array of another
   * mesh is moved.
   * @throws DimError where an argument does not fit: then nothing has started, and arrays that it would have taken over are whole. What
   * goes wrong on the devices is thrown by `read()` of the results, and of what is computed from them.
   */
  (...args: GivenAll<A>): Promise<Arrays<R>>
  readonly memory: MemoryStats | undefined
  readonly fromCache: boolean
  dispose(): void
  [Symbol.dispose](): void
}

const tensors = treeOps(isTensor, 'a tensor')
/** Trees of placements: what a plan says of its arguments. */
export const placementTrees: TreeOps<Placement> = treeOps((x): x is Placement => typeof x === 'object' && x !== null && 'sharding' in x && x.sharding instanceof Map, 'a placement')

/** A function as a graph, which says nothing yet of a mesh. */
export interface Traced<A extends readonly Tree[], R extends Tree> {
  readonly args: A
  readonly graph: Graph
  readonly result: R
  /** Of the arguments' leaves, in the order of the graph's inputs. */
  readonly paths: readonly string[]
}

/** The function as a graph: its inputs are the arguments' leaves. @throws DimError where it uses an input that is no argument. */
export const trace = <A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, args: A): Traced<A, R> => ownLines(() => traced(f, args))

function traced<A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, args: A): Traced<A, R> {
  const leaves = leavesOf(args)
  const inputs = leaves.map(({ leaf, path }) => {
    if (leaf.node.op !== 'input') throw new DimError({ code: 'not-an-input', what: `compile: argument ${path} is computed, not given`, fix: 'make it with input(), param() or slot()', at: leaf.node.site })
    return leaf.node
  })
  const known = new Set<Node>()
  const twice = inputs.findIndex(n => known.size === known.add(n).size)
  if (twice >= 0) throw new DimError({ code: 'same-input', what: `compile: argument ${leaves[twice]?.path ?? ''} is the same tensor as argument ${leaves[inputs.indexOf(inputs[twice] as Node<'input'>)]?.path ?? ''}`, fix: 'make an input for each', at: inputs[twice]?.site })
  const result = f(...args)
  const outputs = prune(mergeScans(inlined(leavesOf(result).map(l => l.leaf.node))), make)
  for (const n of reachable(outputs)) {
    if (n.op === 'input' && !known.has(n)) {
      throw new DimError({ code: 'unbound-input', what: `compile: the program uses "${n.attrs.name}", which is not among its arguments`, fix: 'pass it as an argument', at: n.site })
    }
  }
  return { args, graph: { inputs, outputs }, result, paths: leaves.map(l => l.path) }
}

/** The graph of a function that is compiled: pruned, and with what is computed again in its place. @throws DimError as `compile` */
export const graphOf = <A extends readonly Tree[], R extends Tree>(f: (...args: A) => R, args: A): Graph => trace(f, args).graph

/** `devicesAs` is how the text names devices, `overlaps` whether collectives are under way while they compute, `kernels` whether there are our own to call, and `lowering` what platform it is for: as the backend that will run it does. */
export type PlanOptions<N extends string = string> = Omit<CompileOptions<N>, 'backend'> & { readonly devicesAs?: Backend['devicesAs']; readonly overlaps?: boolean; readonly kernels?: boolean; readonly lowering?: Lowering }

/** All stages but the last: nothing is compiled, no device is touched. */
export const plan = <const A extends readonly Tree[], R extends Tree, N extends string = string>(
  f: (...args: A) => R, args: A, options: PlanOptions<N>,
): Plan<A> & { readonly result: R } => planTraced(trace(f, args), options)

/** The same of what was traced before: on another mesh, by other layouts. */
export function planTraced<const A extends readonly Tree[], R extends Tree, N extends string = string>({ args, graph, result, paths }: Traced<A, R>, options: PlanOptions<N>): Plan<A> & { readonly result: R } {
  const local = partition(graph, options.mesh, options, Object.values(options.dims ?? {}))
  checkMemories(local, options.lowering ?? forCpu)
  const counts = args.map(a => leavesOf(a).length)
  const first = (arg: number): number => counts.slice(0, arg).reduce((n, c) => n + c, 0)
  const absent = (options.donate ?? []).find(arg => args[arg] === undefined)
  if (absent !== undefined) throw new DimError({ code: 'option', what: `compile: there is no argument ${absent} to donate`, fix: `arguments are counted from 0, and there are ${args.length}`, at: userSite() })
  const candidates = (options.donate ?? []).flatMap(arg => Array.from({ length: counts[arg] ?? 0 }, (_, i) => first(arg) + i))
  const pairs = donationPairs(local, candidates)
  const inputs = paths.map((path, i) => ({ path, placement: local.inputPlacements[i] })).filter((x): x is { path: string; placement: Placement } => x.placement !== undefined)
  let text: string | undefined
  return {
    graph, local, collectives: collectives(local), inputs, placements: tensors.rebuild(args, inputs.map(i => i.placement)) as Plan<A>['placements'], donations: pairs, result,
    get text() { return text ??= emit(local, { donations: pairs, ...options.devicesAs === undefined ? {} : { devicesAs: options.devicesAs }, overlaps: options.overlaps === true, kernels: options.kernels === true, batchInvariant: options.batchInvariant === true, ...options.lowering === undefined ? {} : { lowering: options.lowering } }) },
  }
}

/**
 * Compiles `f` for the mesh. `args` are trees of `input`, `param` and `slot` tensors: they say what `f` is given. The
 * program takes arrays, or host data, of the same form, and returns arrays in the form of `f`'s result.
 * @throws LayoutError, DimError before anything is compiled; PluginError when the compiler refuses.
 */
export async function compile<const A extends readonly Tree[], R extends Tree, N extends string = string>(
  f: (...args: A) => R, args: A, options: CompileOptions<N>,
): Promise<Program<A, R>> {
  return (await compiling(f, args, options)).program
}

/** As `compile`, but resolves once the backend has been given the program: what is to be compiled next can be planned meanwhile. */
export async function compiling<const A extends readonly Tree[], R extends Tree, N extends string = string>(
  f: (...args: A) => R, args: A, options: CompileOptions<N>,
): Promise<{ readonly plan: Plan<A>; readonly program: Promise<Program<A, R>> }> {
  const { request, plan, program, told } = await prepared(f, args, options)
  return { plan, program: options.backend.compile(request).then(program, (e: unknown) => { throw told(e) }) }
}

/** A program that tells when its parts run. */
export interface TracedProgram<A extends readonly Tree[], R extends Tree> extends Program<A, R>, Pick<TracedExecutable, 'parts' | 'record'> {}

/** As `compile`: the same program, made of the same parts, each of which says when it begins and when it ends. @throws PluginError also where the backend cannot tell */
export async function compileTraced<const A extends readonly Tree[], R extends Tree, N extends string = string>(
  f: (...args: A) => R, args: A, options: CompileOptions<N>,
): Promise<TracedProgram<A, R>> {
  const { request, program } = await prepared(f, args, options)
  const executable = await options.backend.traced(request)
  return Object.assign(program(executable), { parts: executable.parts, record: (work: () => Promise<void>) => executable.record(work) })
}

/** All stages but the last, checked against the backend; and what makes a program of what that one compiles. */
async function prepared<const A extends readonly Tree[], R extends Tree, N extends string>(
  f: (...args: A) => R, args: A, options: CompileOptions<N>,
): Promise<{ readonly request: CompileRequest; readonly plan: Plan<A>; readonly program: (executable: Executable) => Program<A, R>; readonly told: (failure: unknown) => unknown }> {
  const { mesh, backend } = options
  if (mesh.size > backend.deviceCount) {
    throw new LayoutError({ code: 'too-many-devices', what: `the mesh ${formatMesh(mesh)} needs ${mesh.size} devices, ${backend.name} has ${backend.deviceCount}`, fix: 'use a smaller mesh, or open the backend with more devices' })
  }
  if ((backend.devicesAs === 'ranks' || backend.processes.count > 1) && mesh.size !== backend.deviceCount) {
    throw new LayoutError({ code: 'ranks', what: `the mesh ${formatMesh(mesh)} has ${mesh.size} devices, and the ranks have ${backend.deviceCount} together`, fix: `start the job with ${mesh.size} devices, or use a mesh of ${backend.deviceCount}` })
  }
  const kernels = await backend.kernels()
  const { result, ...planned } = plan(f, args, { ...options, devicesAs: backend.devicesAs, overlaps: backend.overlaps === true, kernels, lowering: backend.lowering })
  const donated = [...planned.donations.keys()]
  const outputs = planned.local.outputPlacements.map(placement => ({ placement, bytes: bytesOn(placement, mesh) }))
  const inputs = planned.inputs.map(i => ({ ...i, fitting: new WeakSet<Placement>() }))
  const expected = { inputs, form: tensors.formOf(args), donated: new Set(donated), mesh, backend }
  const form = tensors.formOf(result)
  const lies = { mesh, inputs: planned.inputs, outputs: planned.local.outputPlacements, donations: planned.donations }
  const program = (executable: Executable): Program<A, R> => {
    const told = (e: MeshworkError): MeshworkError => lyingWhere(e, { ...lies, memory: executable.memory })
    const run = async (...given: GivenAll<A>): Promise<Arrays<R>> => {
      const here = new Error()
      const at = (): ReturnType<typeof siteOf> => siteOf(here)
      const args = argumentsOf(given, expected, at)
      try {
        const out = await executable.execute(args.buffers, { at, told })
        args.accepted()
        const arrays = outputs.map(({ placement, bytes }, i) => new MeshArray(placement, mesh, backend, out.map(row => present(row[i])), bytes))
        await collected()
        return build(form, arrays) as Arrays<R>
      } finally {
        args.release()
      }
    }
    const dispose = (): void => executable.dispose()
    return Object.assign(run, { ...planned, memory: executable.memory, fromCache: executable.fromCache, dispose, [Symbol.dispose]: dispose })
  }
  const unordered = backend.devicesAs === 'replicas' && mesh.size > 1 && !kernels && !isOrdered(planned.local)
  return { request: { text: planned.text, devices: mesh.size, donated, ...unordered ? { unordered } : {} }, plan: planned, program, told: e => (e instanceof MeshworkError ? lyingWhere(e, lies) : e) }
}
