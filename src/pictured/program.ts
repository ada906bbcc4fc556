/** A device's program as blocks: ops by the user's line, collectives by themselves, loops and choices with what is in them. */
import { dtypes } from '../core/dtype.ts'
import { formatShape, sizeOf } from '../core/dim.ts'
import { formatSite } from '../core/errors.ts'
import { formOf } from '../cost/kernels.ts'
import { isOfScalars, phasesOf, type Marks, type Phase } from '../cost/phases.ts'
import { runsOf, turnsOf } from '../cost/turns.ts'
import { productFlops } from '../graph/flops.ts'
import { operand, reachable, typeOf, type TensorType } from '../graph/node.ts'
import { collectiveKind, collectives, type CollectiveKind } from '../partition/collectives.ts'
import { describeLocal, type LocalBody, type LocalGraph, type LocalNode } from '../partition/local.ts'
import type { ChoiceShown, ItemShown, OpShown, OpsShown, ProgramShown } from '../train/pictured-shape.ts'

export const typeText = ({ dtype, shape }: TensorType): string => `${dtype}[${formatShape(shape)}]`
export const lineOf = (n: LocalNode): string | null => (n.site === undefined ? null : formatSite(n.site))

/** Ops that are not shown: values that are known, and parts of what another op gives. */
const silent: ReadonlySet<string> = new Set(['input', 'constant', 'iota', 'broadcast', 'project', 'axisIndex', 'barrier'])
const isShown = (n: LocalNode): boolean => !silent.has(n.op) && formOf(n) !== 'view'
const flopsOf = (n: LocalNode): number => (n.op === 'dot' || n.op === 'conv' ? productFlops(n) : 0)

/** What a value is, seen, cast or gathered otherwise. */
const same: ReadonlySet<string> = new Set(['convert', 'broadcast', 'rename', 'stored', 'splitDim', 'mergeDims', 'allGather', 'barrier'])
type Named = ReadonlyMap<LocalNode, string>
const nameIn = (named: Named, n: LocalNode): string | undefined => named.get(n) ?? (same.has(n.op) && n.inputs.length === 1 ? nameIn(named, operand(n, 0)) : undefined)

/** The names of the inputs of a body that are given something that has one, whatever the turn. */
function namesInside(n: LocalNode, body: LocalBody, named: Named): Named {
  // A choice is given its predicate first; what a loop carries changes from turn to turn.
  const operands = n.op === 'cond' ? n.inputs.slice(1) : n.inputs
  const changing = n.op === 'scan' || n.op === 'while' ? n.attrs.carries : 0
  return new Map(body.inputs.flatMap((p, i) => {
    const [from, own] = [operands[i], body.outputs[i]]
    const name = from === undefined || (i < changing && own !== p) ? undefined : nameIn(named, from)
    return name === undefined ? [] : [[p, name] as const]
  }))
}

type Result = readonly [path: string, n: LocalNode]
interface Making { readonly owner: Named; readonly moves: ReadonlyMap<LocalNode, ReadonlySet<string>> }

/**
 * The result that each op of the update makes, and the parameters whose values or gradients a collective moves: walked from what a step gives back, not by way of numbers
 * that every tensor's update takes, such as the gradient's norm.
 */
function makersOf(params: readonly Result[], others: readonly Result[], phases: ReadonlyMap<LocalNode, Phase>): Making {
  const owner = new Map<LocalNode, string>()
  const moves = new Map<LocalNode, Set<string>>()
  const walk = ([path, output]: Result, isParam: boolean): void => {
    const seen = new Set<LocalNode>()
    const open = [output]
    for (let n = open.pop(); n !== undefined; n = open.pop()) {
      if (seen.has(n) || n.op === 'scan' || n.op === 'while' || phases.get(n) === 'forward' || (n !== output && isOfScalars(n))) continue
      seen.add(n)
      if (phases.get(n) === 'update' && !owner.has(n)) owner.set(n, path)
      const sends = collectiveKind(n) !== undefined
      if (sends && isParam) moves.set(n, (moves.get(n) ?? new Set()).add(path))
      if (!sends || phases.get(n) === 'update') open.push(...n.inputs)
    }
  }
  for (const r of params) walk(r, true)
  for (const r of others) walk(r, false)
  return { owner, moves }
}

/** How often a body runs when what holds it does, on the average: a loop's turns; of a choice's branches 1 or 0, a share where some devices choose it alone, or what is known in a loop that knows its turns. */
function runsInside(program: LocalBody, turns: ReadonlyMap<LocalNode, number>): (n: LocalNode, body: LocalBody) => number {
  const runs = runsOf(program, flopsOf)
  return (n, body) => {
    const times = turns.get(n) ?? 0
    return n.op === 'scan' ? n.attrs.over.size : times === 0 ? 0 : (runs.get(body) ?? 0) / times
  }
}

/** How often something runs in a step. */
interface Often { readonly times: number; readonly runs: number }

export interface ProgramSource {
  readonly local: LocalGraph
  readonly marks: Marks
  /** Of the program's inputs, in their order. */
  readonly inputs: readonly string[]
  /** Of its results. */
  readonly outputs: readonly string[]
  /** Milliseconds that a collective takes once, where a machine is known. */
  readonly price?: ((kind: CollectiveKind, axes: readonly string[], bytes: number) => number) | undefined
}

/** The program of a step. */
export function programOf({ local, marks, inputs, outputs, price }: ProgramSource): { readonly program: ProgramShown; readonly phases: ReadonlyMap<LocalNode, Phase> } {
  const phases = phasesOf(local, marks)
  const phaseOf = (n: LocalNode): Phase => phases.get(n) ?? 'update'
  const turns = turnsOf(local, flopsOf)
  const within = runsInside(local, turns)
  const results = local.outputs.map((n, i): Result => [outputs[i]?.replace(/^state\.(params\.)?/, '') ?? '', n])
  const isParam = (_: Result, i: number): boolean => outputs[i]?.startsWith('state.params') === true
  const [params, others] = [results.filter(isParam), results.filter((r, i) => !isParam(r, i))]
  const { owner, moves } = makersOf(params, others, phases)
  let next = 0

  const shown = (n: LocalNode, named: Named): OpShown => ({
    op: describeLocal(n), type: n.results.map(typeText).join(', '), bytes: n.results.reduce((sum, t) => sum + sizeOf(t.shape) * dtypes[t.dtype].bytes, 0), flops: flopsOf(n),
    reads: [...new Set(n.inputs.flatMap(i => nameIn(named, i) ?? []))],
  })
  const lineIn = (n: LocalNode): string | undefined => (n.site === undefined ? undefined : `${n.site.file}:${n.site.line}`)
  /** What a block is called that an op opens or goes on with: of an op without a line undefined, unless it is of the update. */
  const titleOf = (n: LocalNode, phase: Phase): string | undefined => (phase !== 'update' ? lineIn(n) : owner.get(n) ?? lineIn(n) ?? (isOfScalars(n) ? 'numbers of the whole step' : undefined))

  /** The items of a body: `times` are the turns of the loops around as the plan counts them, `runs` as often as it is known to run. */
  const itemsOf = (order: readonly LocalNode[], named: Named, { times, runs }: Often, inherited?: Phase): ItemShown[] => {
    const items: ItemShown[] = []
    let block: { title: string | undefined; phase: Phase; at: string | null; nodes: LocalNode[] } | undefined
    const close = (): void => {
      if (block === undefined) return
      const { title = 'between', phase, at, nodes } = block
      items.push({ kind: 'ops', id: next++, phase, at, title, ops: nodes.map(n => shown(n, named)), flops: nodes.reduce((sum, n) => sum + flopsOf(n) * runs, 0) } satisfies OpsShown)
      block = undefined
    }
    for (const n of order) {
      if (!isShown(n)) continue
      const phase = inherited ?? phaseOf(n)
      const place = (): { id: number; phase: Phase; at: string | null } => ({ id: next++, phase, at: lineOf(n) })
      const kind = collectiveKind(n)
      if (kind !== undefined && 'axes' in n.attrs) {
        close()
        const { dtype, shape } = typeOf(operand(n, 0))
        const tensors = [...new Set([...moves.get(n) ?? [], ...n.inputs.flatMap(i => nameIn(named, i) ?? [])])]
        const bytes = sizeOf(shape) * dtypes[dtype].bytes
        items.push({ kind: 'collective', ...place(), collective: kind, text: describeLocal(n), axes: n.attrs.axes, dtype, bytes, count: times, tensors, ...(price === undefined ? {} : { ms: price(kind, n.attrs.axes, bytes) }) })
      } else if (n.op === 'scan' || n.op === 'while') {
        close()
        const at = place()
        const { body } = n.attrs
        const mixed = inherited === undefined && phase === 'forward' && reachable(body.outputs).some(m => phaseOf(m) === 'backward' && isShown(m))
        const inside = (b: LocalBody, many: number): ItemShown[] => itemsOf(inOrder(b.outputs, mixed), namesInside(n, b, named), { times: times * many, runs: runs * within(n, b) }, mixed ? undefined : phase)
        const known = within(n, body)
        items.push(n.op === 'scan' ? { kind: 'loop', ...at, over: n.attrs.over.name.replace(/^~/, ''), turns: n.attrs.over.size, items: inside(body, n.attrs.over.size) }
          : { kind: 'loop', ...at, over: '', turns: known === 0 ? null : known, items: [...inside(n.attrs.condition, 1), ...inside(body, 1)] })
      } else if (n.op === 'cond') {
        close()
        const at = place()
        const { yes, no } = n.attrs
        const sent = (b: LocalBody): number => collectives({ ...local, ...b }).reduce((sum, c) => sum + c.count * c.bytes, 0)
        const second = sent(no) > sent(yes)
        const branch = (name: string, b: LocalBody, counted: boolean): ChoiceShown['branches'][number] =>
          ({ name, counted, items: itemsOf(reachable(b.outputs), namesInside(n, b, named), { times, runs: runs * within(n, b) }, phase) })
        items.push({ kind: 'choice', ...at, branches: [branch('if so', yes, !second), branch('if not', no, second)] })
      } else {
        const title = titleOf(n, phase)
        if (block !== undefined && (block.phase !== phase || (title !== undefined && block.title !== undefined && block.title !== title))) close()
        block ??= { title, phase, at: lineOf(n), nodes: [] }
        block.title ??= title
        block.at ??= lineOf(n)
        block.nodes.push(n)
      }
    }
    close()
    return items
  }
  const inOrder = (outputs: readonly LocalNode[], mixed: boolean): readonly LocalNode[] => {
    const order = reachable(outputs)
    return mixed ? [...order.filter(n => phaseOf(n) === 'forward'), ...order.filter(n => phaseOf(n) !== 'forward')] : order
  }

  const named = new Map(local.inputs.flatMap((p, i) => (inputs[i] === undefined ? [] : [[p, inputs[i]] as const])))
  // What the loss needs first; then what the gradients need; then tensor by tensor what is left.
  const order = reachable([marks.loss, marks.gradNorm, ...local.outputs])
  const of = (phase: Phase): LocalNode[] => order.filter(n => phaseOf(n) === phase)
  const rank = new Map(results.map(([path], i) => [path, i + 1]))
  const update = of('update').sort((a, b) => (rank.get(owner.get(a) ?? '') ?? 0) - (rank.get(owner.get(b) ?? '') ?? 0))
  const once = { times: 1, runs: 1 }
  return { program: { forward: itemsOf(of('forward'), named, once), backward: itemsOf(of('backward'), named, once), update: itemsOf(update, named, once) }, phases }
}
