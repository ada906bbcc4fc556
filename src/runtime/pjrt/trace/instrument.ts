/**
 * A compiled program in which each instruction says when it begins and when it ends. What XLA has made of the program stays as it is, its fusions, contractions, loops
 * and collectives; each instruction is only moved into a function of its own, between two calls of ours. So few steps XLA:CPU runs in their order, one after another,
 * while the functions themselves run as the instructions did: as soon as what they read is there, several at once where they can.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'
import type { TracedPart } from '../../backend.ts'
import { computationFields, instructionFields, moduleFields, readModule, shapeFields, shapeOf, u32Type, type Computation, type Instruction, type Module } from './hlo.ts'
import { Message } from './wire.ts'
import { bytesOf, flopsOf, groupsOf, linesOf, opsIn } from './work.ts'

/** The function that is called, by its name in programs. */
export const tickTarget = 'meshwork.tick'

/** Instructions that take no time of their own: names of what is there already, and those that run others. */
const free = new Set(['parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'after-all', 'add-dependency', 'opt-barrier', 'while', 'conditional', 'call', 'replica-id', 'partition-id'])
/** Instructions whose functions are parts of the program: other instructions call theirs for each element. */
const control = new Set(['while', 'conditional', 'call'])

export interface Instrumented { readonly module: Uint8Array; readonly parts: readonly TracedPart[] }

/** @param optimized HloModuleProtoWithConfig, as PJRT gives it */
export function instrument(optimized: Uint8Array): Instrumented {
  const given = readModule(Message.read(optimized).bytes(1)[0] ?? new Uint8Array())
  const byId = new Map(given.computations.map(c => [c.id, c]))
  const running = runningIn(given, byId)
  const parts: TracedPart[] = []
  const ids = numbering(given)
  const computations = given.computations.flatMap(computation => {
    if (!running.has(computation.id)) return [computation.message]
    const at = new Map(computation.instructions.map(i => [i.id, i]))
    const made: Message[] = []
    const instructions = computation.instructions.map(n => {
      if (free.has(n.opcode)) return n.message
      const { id, fresh } = ids()
      made.push(around(n, parts.length, at, id, fresh))
      parts.push(partOf(n, computation.instructions, of => at.get(of), of => byId.get(of)))
      return callOf(n, id)
    })
    return [...made, computation.message.withMessages(computationFields.instructions, ...instructions)]
  })
  const module = given.message.without(moduleFields.schedule).withMessages(moduleFields.computations, ...computations)
  return { module: module.encode(), parts }
}

/** A new function's number, and numbers for its instructions: in newer XLA the upper half of an instruction's number is its function's, in older ones all are counted alike. */
function numbering({ computations }: Module): () => { readonly id: number; readonly fresh: () => number } {
  const highest = Math.max(...computations.flatMap(c => c.instructions.map(i => i.id)))
  const halves = highest >= half
  let next = 1 + Math.max(...computations.map(c => c.id), halves ? 0 : highest)
  return () => {
    const id = next++
    let own = 0
    return { id, fresh: () => (halves ? id * half + own++ : next++) }
  }
}
const half = 2 ** 32

/** The program itself, and what its loops, choices and calls run. */
function runningIn({ entry }: Module, byId: ReadonlyMap<number, Computation>): ReadonlySet<number> {
  const found = new Set<number>()
  const visit = (id: number): void => {
    const computation = byId.get(id)
    if (computation === undefined || found.has(id)) return
    found.add(id)
    for (const n of computation.instructions) if (control.has(n.opcode)) n.called.forEach(visit)
  }
  visit(entry)
  return found
}

function partOf(n: Instruction, around: readonly Instruction[], at: (id: number) => Instruction | undefined, computation: (id: number) => Computation | undefined): TracedPart {
  return {
    name: n.name, op: n.opcode, inside: opsIn(n, computation), lines: linesOf(n, around, computation),
    flops: flopsOf(n, at, computation), bytes: bytesOf(n, at, computation), sizes: shapeOf(n).sizes, target: n.message.text(instructionFields.target), groups: groupsOf(n),
  }
}

const { name, opcode, shape, parameter, target, id: idField, operands, before, called, config, sideEffect, apiVersion } = instructionFields

/** In the place of an instruction, under its number: a call of the function that it has become. */
function callOf(n: Instruction, computation: number): Message {
  return new Message([]).withText(name, `traced.${n.id}`).withText(opcode, 'call')
    .withBytes(shape, ...n.message.bytes(shape)).withNumbers(idField, n.id)
    .withNumbers(operands, ...n.operands).withNumbers(before, ...n.message.numbers(before)).withNumbers(called, computation)
}

const scalarU32 = new Message().withNumbers(shapeFields.element, u32Type).withMessages(5, new Message())

/** The function: the device's number, a tick, the instruction, a tick. */
function around(n: Instruction, part: number, at: ReadonlyMap<number, Instruction>, id: number, fresh: () => number): Message {
  const given = n.operands.map((operand, i) => ({ id: fresh(), shape: at.get(operand)?.message.bytes(shape) ?? [], name: `given.${id}.${i}` }))
  const parameters = given.map((p, i) => new Message().withText(name, p.name).withText(opcode, 'parameter').withBytes(shape, ...p.shape).withNumbers(parameter, i).withNumbers(idField, p.id))
  const [device, begin, itself, end] = [fresh(), fresh(), fresh(), fresh()]
  const tick = (own: number, mark: number, after: number): Message => new Message()
    .withText(name, `tick.${own}`).withText(opcode, 'custom-call').withMessages(shape, scalarU32).withNumbers(idField, own).withNumbers(operands, device).withNumbers(before, after)
    .withText(target, tickTarget).withText(config, `{mark = ${mark} : i32}`).withNumbers(sideEffect, 1).withNumbers(apiVersion, 4)
  const moved = n.message.withNumbers(idField, itself).withNumbers(operands, ...given.map(p => p.id)).withNumbers(before, begin)
  const instructions = [
    ...parameters, new Message().withText(name, `device.${device}`).withText(opcode, 'replica-id').withMessages(shape, scalarU32).withNumbers(idField, device),
    tick(begin, 2 * part, device), moved, tick(end, 2 * part + 1, itself),
  ]
  const program = new Message().withBytes(1, ...given.flatMap(p => p.shape)).withBytes(2, ...n.message.bytes(shape)).withBytes(3, ...given.map(p => new TextEncoder().encode(p.name)))
  return new Message().withText(computationFields.name, `tracing.${id}`).withMessages(computationFields.instructions, ...instructions)
    .withMessages(computationFields.shape, program).withNumbers(computationFields.id, id).withNumbers(computationFields.root, itself)
}

/** Compile options that leave the program as it is: XLA has optimized it before. */
export function backendOnly(replicas: number): Uint8Array {
  const on = (w: BinaryWriter, flag: string): BinaryWriter => w.tag(7, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(flag)
    .tag(2, WireType.LengthDelimited).fork().tag(2, WireType.Varint).bool(true).join().join()
  return on(new BinaryWriter(), 'xla_disable_all_hlo_passes')
    .tag(3, WireType.LengthDelimited).fork()
    .tag(1, WireType.Varint).int64(-1)
    .tag(4, WireType.Varint).int64(replicas)
    .tag(5, WireType.Varint).int64(1)
    .join().finish()
}
