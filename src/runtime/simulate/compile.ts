/** Module → program: every value gets a place in a frame, every op a closure, and values are dropped after their last use. */
import { PluginError } from '../../core/errors.ts'
import type { BufferType } from '../backend.ts'
import { collectiveLowerings } from './collectives.ts'
import { controlLowerings } from './control.ts'
import { convolutionLowerings } from './convolution.ts'
import { dotLowerings } from './dot.ts'
import { elementwiseLowerings } from './elementwise.ts'
import { gatherLowerings } from './gather.ts'
import { check, formatType, opError, sameType, sameTypes, type Block, type Func, type Module, type Op, type Typed } from './program.ts'
import { reduceLowerings } from './reduce.ts'
import { reduceWindowLowerings } from './reduce-window.ts'
import type { Body, Context, Lowering, Step, Value } from './lowering.ts'
import { shapeLowerings } from './shape.ts'
import { topKLowerings } from './top-k.ts'

const lowerings: ReadonlyMap<string, Lowering> = new Map<string, Lowering>([
  ...elementwiseLowerings, ...shapeLowerings, ...dotLowerings, ...convolutionLowerings, ...reduceLowerings, ...reduceWindowLowerings, ...gatherLowerings, ...controlLowerings,
  ...collectiveLowerings, ...topKLowerings,
])

export interface Program {
  readonly parameters: readonly BufferType[]
  readonly results: readonly BufferType[]
  run(inputs: readonly Value[]): Promise<readonly Value[]>
}

/** Compiles `@main` for so many devices. @throws PluginError when an op is unknown or its types do not fit. */
export function compileModule(module: Module, devices: number): Program {
  const main = module.get('main')
  if (main === undefined) {
    const details = { functions: [...module.keys()].join(', ') || 'none' }
    throw new PluginError({ code: 'no-main', what: 'the program has no function @main', details })
  }
  const compiler = new Compiler(module, devices)
  const body = compiler.compile(main)
  const types = (list: readonly Typed[]): BufferType[] => list.map(v => v.type)
  // One for all runs: many short ones must let the loop turn as a long one does.
  const breathe = breather()
  const run: Program['run'] = inputs => body(inputs, { frame: [], breathe })
  return { parameters: types(main.body.parameters), results: types(main.body.results), run }
}

/** Lets Node's loop turn when 20 ms have passed since it last did. */
function breather(): () => Promise<void> | undefined {
  let last = performance.now()
  return () => (performance.now() - last < 20 ? undefined : new Promise(resolve => {
    setImmediate(() => { last = performance.now(); resolve() })
  }))
}

class Compiler {
  private readonly module: Module
  private readonly devices: number
  /** Undefined while it is being compiled. */
  private readonly compiled = new Map<string, Body | undefined>()

  constructor(module: Module, devices: number) {
    this.module = module
    this.devices = devices
  }

  compile({ name, body }: Func): Body {
    const scope = new Scope()
    const run = compileBlock(body, scope, this.context(scope))
    const inFrame: Body = (inputs, caller) => run(inputs, { ...caller, frame: [] })
    this.compiled.set(name, inFrame)
    return inFrame
  }

  private context(scope: Scope): Context {
    return {
      devices: this.devices,
      region: block => { const inner = new Scope(scope); return compileBlock(block, inner, this.context(inner)) },
      call: (op, name) => this.call(op, name),
    }
  }

  private call(op: Op, name: string): Body {
    const func = this.module.get(name)
    check(op, func !== undefined, `there is no function @${name}`)
    check(op, sameTypes(op.operands, func.body.parameters) && sameTypes(op.results, func.body.results), `@${name} is of another type`)
    if (!this.compiled.has(name)) {
      this.compiled.set(name, undefined)
      this.compile(func)
    }
    const body = this.compiled.get(name)
    check(op, body !== undefined, `@${name} calls itself`)
    return body
  }
}

interface Place { readonly slot: number; readonly type: BufferType }

/** The values that a block sees: its own and those of the blocks around it, all in one frame. */
class Scope {
  /** Slots of this block that have been asked for, by itself or by a block in it. */
  touched = new Set<number>()
  private readonly outer: Scope | undefined
  private readonly places = new Map<string, Place>()
  private readonly counter: { next: number }

  constructor(outer?: Scope) {
    this.outer = outer
    this.counter = outer?.counter ?? { next: 0 }
  }

  define({ name, type }: Typed): number {
    const slot = this.counter.next++
    this.places.set(name, { slot, type })
    return slot
  }

  find(name: string): Place | undefined {
    const own = this.places.get(name)
    if (own === undefined) return this.outer?.find(name)
    this.touched.add(own.slot)
    return own
  }

  slot({ name, type }: Typed, problem: (what: string) => PluginError): number {
    const found = this.find(name)
    if (found === undefined) throw problem(`${name} is not defined`)
    if (!sameType(found.type, type)) throw problem(`${name} is ${formatType(found.type)}, and used as ${formatType(type)}`)
    return found.slot
  }
}

interface Instruction { readonly step: Step; readonly operands: readonly number[]; readonly results: readonly number[]; drops: number[] }

function compileBlock(block: Block, scope: Scope, context: Context): Body {
  const parameters = block.parameters.map(p => scope.define(p))
  const uses: Set<number>[] = []
  const instructions = block.ops.map((op): Instruction => {
    scope.touched = new Set()
    const operands = op.operands.map(v => scope.slot(v, what => opError(op, 'program-types', what)))
    const lower = lowerings.get(op.name)
    if (lower === undefined) throw opError(op, 'unknown-op', 'the simulator does not know this op')
    const step = lower(op, context)
    uses.push(scope.touched)
    return { step, operands, results: op.results.map(v => scope.define(v)), drops: [] }
  })
  scope.touched = new Set()
  const results = block.results.map(v => scope.slot(v, what => new PluginError({ code: 'program-types', what: `return: ${what}` })))
  // Backwards, so that the first op found to use a value is the last that does.
  const needed = scope.touched
  for (let i = instructions.length - 1; i >= 0; i--) {
    const instruction = instructions[i] as Instruction
    const here = new Set([...instruction.results, ...uses[i] as Set<number>])
    instruction.drops = [...here].filter(slot => !needed.has(slot))
    for (const slot of here) needed.add(slot)
  }
  return async (inputs, run) => {
    const { frame } = run
    parameters.forEach((slot, i) => { frame[slot] = inputs[i] })
    for (const { step, operands, results: slots, drops } of instructions) {
      const made = step(operands.map(slot => frame[slot] as Value), run)
      const values = made instanceof Promise ? await made : made
      slots.forEach((slot, i) => { frame[slot] = values[i] })
      for (const slot of drops) frame[slot] = undefined
      const pause = run.breathe()
      if (pause !== undefined) await pause
    }
    return results.map(slot => frame[slot] as Value)
  }
}
