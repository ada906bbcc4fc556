/** What the lowering of an op to a step is, and the two forms that most take. */
import type { Store } from './element.ts'
import type { Block, Op } from './program.ts'

/** A value on every device. Devices whose store is one and the same have been found to hold the same. */
export type Value = readonly Store[]

/** A compiled region or function, run with a caller's frame. */
export type Body = (inputs: readonly Value[], run: Run) => Promise<readonly Value[]>

/** One run of a program: where its values are, and when it last let Node's loop turn. */
export interface Run { readonly frame: (Value | undefined)[]; readonly breathe: () => Promise<void> | undefined }

/** A compiled op. */
export type Step = (operands: readonly Value[], run: Run) => readonly Value[] | Promise<readonly Value[]>

export interface Context {
  readonly devices: number
  /** Compiles a region, which sees the values around it. */
  region(block: Block): Body
  /** Compiles a function of the module. */
  call(op: Op, name: string): Body
}

/** Everything that does not depend on the operands' values is done here, once. */
export type Lowering = (op: Op, context: Context) => Step

/** What one device does alone. */
export type Kernel = (operands: readonly Store[]) => readonly Store[]

/** An op without communication. Devices with the very same operands share the work and the results. */
export const perDevice = (make: (op: Op) => Kernel): Lowering => (op, { devices }) => {
  const kernel = make(op)
  return operands => {
    const results: (readonly Store[])[] = []
    for (let device = 0; device < devices; device++) {
      const twin = twinOf(operands, device)
      results.push(results[twin] ?? kernel(operands.map(value => value[device] as Store)))
    }
    return op.results.map((_, r) => results.map(stores => stores[r] as Store))
  }
}

/** The first device that has the same operands; the device itself if none before it does. */
function twinOf(operands: readonly Value[], device: number): number {
  let twin = 0
  while (twin < device && !operands.every(value => value[twin] === value[device])) twin++
  return twin
}

/** The lowering of every op in a table of one-result kernels. */
export const perDeviceLowerings = (table: Readonly<Record<string, (op: Op) => (operands: readonly Store[]) => Store>>): [string, Lowering][] =>
  Object.entries(table).map(([name, make]) => [name, perDevice(op => {
    const kernel = make(op)
    return operands => [kernel(operands)]
  })])
