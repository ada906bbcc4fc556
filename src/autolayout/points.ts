/** What work of a body follows from: a graph of points, one for each value that a sketch has placed, and what of it a program still needs once passes have gone over it. */
import type { Node } from '../graph/node.ts'
import type { LocalNode } from '../partition/local.ts'

/** A value of a body: work, a result of a loop, something that the body is given, by its number, or none of these and made of others. */
export interface Point { readonly needs: readonly Point[]; readonly work?: WorkKey; readonly loop?: Looped; readonly result?: number; readonly given?: number; /** Along which a device's place is in it. */ readonly axes?: readonly string[] }
/** Work that a pass has moved has no node of its own. */
export type WorkKey = LocalNode | string
export const nowhere: Point = { needs: [] }

/** A loop or a choice where it stands. */
export interface Looped { readonly node: Node; readonly local: LocalNode; readonly results: readonly LocalNode[]; readonly operands: readonly Point[]; /** Whether it is a choice that falls away: its first branch is run in any case. */ readonly fallen?: true; /** How many steps of the body came before it. */ readonly step?: number }

/** A body as far as its points go. */
export interface Pointed {
  readonly loops: readonly Looped[]
  readonly outputs: readonly Point[]
  /** Work that is read from elsewhere instead: what it follows from it does not need. */
  readonly cut: ReadonlySet<WorkKey>
  /** What loops are given beside their operands. */
  readonly extra: ReadonlyMap<Looped, readonly Point[]>
  /** What a loop that follows takes of this one's turns. */
  readonly stacked: readonly Point[]
}
export const carriesOf = ({ node: n }: Looped): number => (n.op === 'scan' || n.op === 'while' ? n.attrs.carries : 0)

type Bodies = ReadonlyMap<readonly Node[], Pointed>
/** The bodies of a loop, and by which of its operands the first input of each is given. */
export function insideOf({ node: n }: Looped, bodies: Bodies): readonly { readonly body: Pointed; readonly from: number; readonly all: boolean }[] {
  const of = (roots: readonly Node[], from: number, all = false): { readonly body: Pointed; readonly from: number; readonly all: boolean }[] => {
    const body = bodies.get(roots)
    return body === undefined ? [] : [{ body, from, all }]
  }
  if (n.op === 'scan') return of(n.attrs.body.outputs, 0)
  if (n.op === 'while') return [...of(n.attrs.condition.outputs, 0, true), ...of(n.attrs.body.outputs, 0)]
  return n.op === 'cond' ? [...of(n.attrs.yes.outputs, 1), ...of(n.attrs.no.outputs, 1)] : []
}

/** What a program needs of its points. */
export interface Needed {
  readonly points: ReadonlySet<Point>
  /** Of each body, the numbers of results that are read. */
  readonly results: ReadonlyMap<Pointed, ReadonlySet<number>>
  /** Of each loop, the operands that its bodies look at. */
  readonly operands: ReadonlyMap<Looped, ReadonlySet<number>>
}

/** All that results of the outermost body follow from, in the bodies of loops as far as their results are read (see graph/prune.ts). */
export function neededOf(root: Pointed, bodies: Bodies): Needed {
  const points = new Set<Point>()
  const results = new Map<Pointed, Set<number>>()
  const operands = new Map<Looped, Set<number>>()
  const owners = new Map<Pointed, Looped>()
  const entered = new Set<Looped>()
  const added = <K>(sets: Map<K, Set<number>>, key: K, n: number): boolean => {
    const set = sets.get(key) ?? new Set<number>()
    sets.set(key, set)
    return set.size < set.add(n).size
  }
  const visit = (body: Pointed, from: Point, enter: (given: number) => void): void => {
    const open = [from]
    for (let p = open.pop(); p !== undefined; p = open.pop()) {
      if (points.has(p)) continue
      points.add(p)
      if (p.given !== undefined) enter(p.given)
      if (p.loop !== undefined) ask(body, p.loop, p.result, enter)
      if (p.work === undefined || !body.cut.has(p.work)) open.push(...p.needs)
    }
  }
  const ask = (around: Pointed, loop: Looped, result: number | undefined, enterAround: (given: number) => void): void => {
    const take = (operand: number): void => {
      const point = loop.operands[operand]
      if (point !== undefined && added(operands, loop, operand)) visit(around, point, enterAround)
    }
    const inside = insideOf(loop, bodies)
    const enterIn = (from: number) => (given: number): void => {
      if (given < carriesOf(loop)) read(given)
      take(from + given)
    }
    const read = (index: number): void => {
      for (const { body, from, all } of inside) {
        const output = body.outputs[all ? 0 : index]
        if (output !== undefined && added(results, body, all ? 0 : index)) visit(body, output, enterIn(from))
      }
    }
    if (!entered.has(loop)) {
      entered.add(loop)
      for (const e of around.extra.get(loop) ?? []) visit(around, e, enterAround)
      if (loop.node.op === 'cond') take(0)
      for (const { body, from } of inside) {
        // A body of two loops: what one of them has visited the other one needs as well.
        if (owners.has(body)) loop.operands.forEach((_, k) => { take(k) })
        owners.set(body, loop)
        for (const s of body.stacked) visit(body, s, enterIn(from))
      }
    }
    if (result !== undefined) read(result)
  }
  root.outputs.forEach((output, i) => { added(results, root, i); visit(root, output, () => undefined) })
  return { points, results, operands }
}

/** Points of a body that are needed, each after those it follows from. */
export function inOrder(body: Pointed, { points, operands }: Needed): readonly (readonly [point: Point, after: readonly Point[]])[] {
  const found = new Map<Point, readonly Point[]>()
  const after = (p: Point): readonly Point[] => {
    const { loop } = p
    if (loop !== undefined) return [...[...operands.get(loop) ?? []].flatMap(k => loop.operands[k] ?? []), ...body.extra.get(loop) ?? []]
    return p.work !== undefined && body.cut.has(p.work) ? [] : p.needs
  }
  const entered = new Map<Point, readonly Point[]>()
  const open = [...body.outputs, ...body.stacked].filter(p => points.has(p)).reverse()
  for (let p = open.at(-1); p !== undefined; p = open.at(-1)) {
    const known = entered.get(p)
    if (known !== undefined) {
      found.set(p, known)
      open.pop()
      continue
    }
    const before = after(p)
    entered.set(p, before)
    for (let i = before.length - 1; i >= 0; i--) { const q = before[i]; if (q !== undefined && !entered.has(q)) open.push(q) }
  }
  return [...found]
}
