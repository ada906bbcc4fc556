/** What an instruction of a compiled program has to do, told by its shapes: arithmetic of its contractions, bytes that it reads and writes. */
import { instructionFields, placesOf, shapeOf, type Computation, type Instruction } from './hlo.ts'

type Find<T> = (id: number) => T | undefined
const elements = (sizes: readonly number[]): number => sizes.reduce((n, s) => n * s, 1)

const [largeProduct, ownConv] = ['meshwork.product', 'meshwork.conv'] as const
const targetOf = (n: Instruction): string => n.message.text(instructionFields.target)
/** Whether a product is written into a stack, its last operand: its result is the whole of that. */
const isStacked = (n: Instruction): boolean => targetOf(n) === largeProduct && n.message.text(instructionFields.config).includes('out_stack')
/** How many matrices a product computes. */
const productsOf = (n: Instruction): number => (isStacked(n) ? 1 : shapeOf(n).sizes[0] ?? 1)
/** Products of a head, forward and back, by the kernel that computes them; not the one of a result that is made again. */
const products = new Map([['meshwork.flash_forward', 2], ['meshwork.flash_backward', 5]])
/** Multiplications and additions of attention by our own kernel, what is masked with them: queries [batch, places, heads, group, size] with keys [batch, places, heads, size]. */
const attention = (n: Instruction, queries: readonly number[], keys: readonly number[]): number => 2 * (products.get(targetOf(n)) ?? 0) * elements(queries) * (keys[1] ?? 0)

/** Multiplications and additions of one contraction, convolution or attention. */
function contraction(n: Instruction, at: Find<Instruction>): number {
  const [left, right] = n.operands.map(id => at(id)).map(o => (o === undefined ? [] : shapeOf(o).sizes))
  const { sizes } = shapeOf(n)
  const out = elements(sizes)
  // Of rows × contracted, contracted × columns and rows × columns the product is the square of what is wanted, however many dims each is.
  const matrices = [left, right, sizes].map(s => elements(s?.slice(1) ?? []))
  if (targetOf(n) === ownConv) return 2 * out * (right?.[0] ?? 0)
  if (n.opcode === 'custom-call') return targetOf(n) === largeProduct ? 2 * productsOf(n) * Math.round(matrices.reduce((a, size) => a * Math.sqrt(size), 1)) : attention(n, left ?? [], right ?? [])
  if (n.opcode === 'dot') return 2 * out * elements((n.message.message(instructionFields.dot)?.numbers(1) ?? []).map(d => left?.[d] ?? 1))
  if (n.opcode !== 'convolution') return 0
  // kernel_output_feature_dimension
  return 2 * out * elements(right ?? []) / (right?.[n.message.message(instructionFields.conv)?.number(4) ?? 0] ?? 1)
}

const bodyOf = (n: Instruction, computation: Find<Computation>): readonly Instruction[] => (n.opcode === 'fusion' || n.opcode === 'call' ? n.called.flatMap(id => computation(id)?.instructions ?? []) : [])
const finder = (instructions: readonly Instruction[]): Find<Instruction> => {
  const byId = new Map(instructions.map(i => [i.id, i]))
  return id => byId.get(id)
}

export function flopsOf(n: Instruction, at: Find<Instruction>, computation: Find<Computation>): number {
  const inner = bodyOf(n, computation)
  const within = finder(inner)
  return contraction(n, at) + inner.reduce((sum, i) => sum + flopsOf(i, within, computation), 0)
}

/** Of what is only cut out of an operand, or written into it in its place, as much as is cut out or written. */
export function bytesOf(n: Instruction, at: Find<Instruction>, computation: Find<Computation>): number {
  const inner = bodyOf(n, computation)
  const sizesAt = (id: number): readonly number[] => { const o = at(id); return o === undefined ? [] : shapeOf(o).sizes }
  const size = (id: number, find: Find<Instruction>): number => { const o = find(id); return o === undefined ? 0 : shapeOf(o).bytes }
  if (inner.length === 0) {
    // Neither reads all that it is given: room that others write, and a copy that waits for others.
    if (targetOf(n) === 'meshwork.unwritten') return 0
    if (targetOf(n) === 'meshwork.after') return 2 * shapeOf(n).bytes
    if (n.opcode === 'dynamic-update-slice') return 2 * size(n.operands[1] ?? -1, at)
    if (n.opcode === 'dynamic-slice' || n.opcode === 'slice' || n.opcode === 'gather') return 2 * shapeOf(n).bytes
    // Of a stack a product reads one matrix, and of one that it fills it writes one.
    const share = (sizes: readonly number[]): number => (targetOf(n) === largeProduct ? Math.min(1, productsOf(n) / (sizes[0] ?? 1)) : 1)
    return (isStacked(n) ? n.operands.slice(0, -1) : n.operands).reduce((sum, id) => sum + share(sizesAt(id)) * size(id, at), share(shapeOf(n).sizes) * shapeOf(n).bytes)
  }
  const within = finder(inner)
  const root = inner.at(-1)
  const written = (i: Instruction | undefined): number => {
    if (i === undefined) return shapeOf(n).bytes
    if (i.opcode === 'tuple') return i.operands.reduce((sum, id) => sum + written(within(id)), 0)
    return i.opcode === 'dynamic-update-slice' ? size(i.operands[1] ?? -1, within) : shapeOf(i).bytes
  }
  const read = (p: Instruction): number => {
    const users = inner.filter(i => i.operands.includes(p.id))
    const cut = users.map(u => (u.opcode === 'dynamic-slice' || u.opcode === 'slice' || u.opcode === 'gather' ? shapeOf(u).bytes : u.opcode === 'dynamic-update-slice' && u.operands[0] === p.id ? 0 : undefined))
    return cut.every(c => c !== undefined) ? Math.min(shapeOf(p).bytes, cut.reduce<number>((a, b) => a + b, 0)) : shapeOf(p).bytes
  }
  return inner.filter(i => i.opcode === 'parameter').reduce((sum, p) => sum + read(p), written(root))
}

/**
 * The user's lines whose work an instruction does: its own first, then those that XLA has fused into it. What XLA has made itself, a copy or a contraction of other factors,
 * works for those that use it, else for what it is made of.
 */
export function linesOf(n: Instruction, around: readonly Instruction[], computation: Find<Computation>): readonly string[] {
  const own = (i: Instruction): string[] => [...new Set([...placesOf(i), ...bodyOf(i, computation).flatMap(placesOf)])]
  const mine = own(n)
  if (mine.length > 0) return mine
  const neighbours = [...around.filter(i => i.operands.includes(n.id)), ...around.filter(i => n.operands.includes(i.id))]
  return neighbours.map(own).find(lines => lines.length > 0)?.slice(0, 1) ?? []
}

/** Devices that a collective brings together, by their numbers; undefined where it is none, or says it in a form that is not read here. */
export function groupsOf(n: Instruction): readonly (readonly number[])[] | undefined {
  const groups = [...n.message.messages(instructionFields.groups), ...n.message.message(instructionFields.devices)?.messages(1) ?? []].map(g => g.numbers(1))
  return groups.length === 0 ? undefined : groups
}
/** What a fusion is made of, the most telling first. */
const plain = new Set(['parameter', 'constant', 'broadcast', 'bitcast', 'reshape', 'tuple', 'get-tuple-element', 'convert', 'copy', 'iota', 'compare', 'select', 'transpose', 'slice', 'and', 'or', 'shift-right-logical', 'bitcast-convert'])
export function opsIn(n: Instruction, computation: Find<Computation>): readonly string[] {
  const inner = [...new Set(bodyOf(n, computation).flatMap(i => [i.opcode, ...opsIn(i, computation)]))]
  const telling = inner.filter(o => !plain.has(o))
  return telling.length > 0 ? telling : inner.filter(o => o !== 'parameter' && o !== 'constant' && o !== 'tuple')
}
