/** Programs as XLA has compiled them (HloModuleProto, xla/service/hlo.proto): as much of them as is looked at. */
import { Message } from './wire.ts'

/** Field numbers. */
export const moduleFields = { name: 1, computations: 3, entryId: 6, schedule: 7 } as const
export const computationFields = { name: 1, instructions: 2, shape: 4, id: 5, root: 6, fused: 7 } as const
export const instructionFields = {
  name: 1, opcode: 2, shape: 3, metadata: 7, parameter: 9, dims: 14, groups: 49, conv: 16, target: 28, dot: 30, id: 35, operands: 36, before: 37, called: 38, config: 43, sideEffect: 65, apiVersion: 77, devices: 87,
} as const

export interface Instruction {
  readonly message: Message
  readonly id: number
  readonly name: string
  readonly opcode: string
  readonly operands: readonly number[]
  readonly called: readonly number[]
}
export interface Computation {
  readonly message: Message
  readonly id: number
  readonly root: number
  readonly instructions: readonly Instruction[]
}
export interface Module { readonly message: Message; readonly entry: number; readonly computations: readonly Computation[] }

export const instructionOf = (message: Message): Instruction => ({
  message, id: message.number(instructionFields.id), name: message.text(instructionFields.name), opcode: message.text(instructionFields.opcode),
  operands: message.numbers(instructionFields.operands), called: message.numbers(instructionFields.called),
})

export function readModule(bytes: Uint8Array): Module {
  const message = Message.read(bytes)
  return {
    message, entry: message.number(moduleFields.entryId),
    computations: message.messages(moduleFields.computations).map(c => ({
      message: c, id: c.number(computationFields.id), root: c.number(computationFields.root), instructions: c.messages(computationFields.instructions).map(instructionOf),
    })),
  }
}

/** XLA's numbers for types of elements, and their bytes; what is missing has none: tuples, tokens. */
const elementBytes: Readonly<Record<number, number>> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 2, 8: 4, 9: 8, 10: 2, 11: 4, 12: 8, 15: 8, 16: 2, 18: 16 }
export const shapeFields = { element: 2, sizes: 3, parts: 4 } as const
export const u32Type = 8

export interface Shape { readonly sizes: readonly number[]; readonly bytes: number }
/** Of a tuple all bytes together. */
export function shapeOf(instruction: Instruction): Shape { return shapeIn(instruction.message.message(instructionFields.shape) ?? new Message()) }
function shapeIn(shape: Message): Shape {
  const sizes = shape.numbers(shapeFields.sizes)
  const own = (elementBytes[shape.number(shapeFields.element)] ?? 0) * sizes.reduce((n, s) => n * s, 1)
  return { sizes, bytes: shape.messages(shapeFields.parts).reduce((n, s) => n + shapeIn(s).bytes, own) }
}

/** The user's lines, as the program's text had them: `models/gpt.ts:31`, several where one op was made of others; none where XLA has lost them, or the text had none. */
export function placesOf(instruction: Instruction): readonly string[] {
  const metadata = instruction.message.message(instructionFields.metadata)
  const file = metadata?.text(3) ?? ''
  // Text without places is known by its own lines, of a file called "-".
  if (file === '' || file === '-') return []
  return file.includes(',') ? [...new Set(file.split(','))] : [`${file}:${metadata?.number(4) ?? 0}`]
}
