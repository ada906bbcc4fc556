/** Our side of the ops, looped inside one program: a request a line on stdin, an answer a line on stdout. */
import { createInterface } from 'node:readline'
import { dim } from '../../src/core/dim.ts'
import { isFloat, type TypedArray } from '../../src/core/dtype.ts'
import { mesh } from '../../src/core/mesh.ts'
import type { MeshArray} from '../../src/engine/index.ts';
import {
  compile, dynamicUpdate, expectDims, full, index, input, loose, openBackend, slice, whileLoop, type AnyTensor, type Tensor,
} from '../../src/engine/index.ts'
import type { Case, T } from '../../test/cases/case.ts'
import { writeArrays, type HostArray } from '../../test/oracle/exchange.ts'
import { drawnOperand } from '../../test/support/operand.ts'
import { timed } from './cases.ts'
import type { Answers, Request } from './task.ts'

const backend = await openBackend({ devices: 1, cache: false })
const where = { mesh: mesh({ x: 1 }), layout: {}, backend }

/** Runs so many turns. Each has an operand that the turn before has changed in place, so that nothing can be computed once for all turns. */
function looped(c: Case, dims: Parameters<Case['f']>[1]) {
  return (turns: AnyTensor, operands: readonly T[]) => {
    const [first, ...others] = operands
    if (first === undefined) throw new Error(`${c.name} has no operand`)
    const shape = c.f(operands, dims)
    const body = ({ n, x }: { n: T; x: T; y: T }) => {
      const y = loose(c.f([x, ...others], dims))
      const [major] = x.shape
      if (major === undefined) return { n: n.add(1), x: x.add(1), y }
      const noise = y.shape.reduce((t: T, d) => index(t, d.name, 0), y).cast(x.dtype).mul(1e-20)
      return { n: n.add(1), x: dynamicUpdate(x, major.name, full(0, [], 'i32'), slice<string, string>(x, major.name, { end: 1 }).add(noise)), y }
    }
    const start = { n: loose(full(0, [], 'i32')), x: first, y: loose(full(0, shape.shape, shape.dtype)) }
    return whileLoop(({ n }) => expectDims(n.less(loose(turns)), []), body, start)
  }
}

async function open(name: string, folder: string) {
  const c = timed.find(t => t.name === name)
  if (c === undefined) throw new Error(`nothing that is timed is called ${name}`)
  const dims = Object.fromEntries(Object.entries(c.dims).map(([n, size]) => [n, dim(n, size)]))
  const drawn = c.in.map((text, i) => drawnOperand(text, dims, `x${i}`, i))
  const hosted = drawn.map(({ tensor, data }, i): [string, HostArray] =>
    [`x${i}`, { shape: tensor.shape.map(d => d.size), data: isFloat(tensor.dtype) ? data as Float32Array : Int32Array.from(data as ArrayLike<number>) }])
  const tensors: readonly Tensor<string>[] = drawn.map(d => d.tensor)
  const program = await compile(looped(c, dims), [input('turns', [], 'i32'), tensors] as const, { ...where, dims })
  // The operands are put on the device once, before the timing, as JAX's are.
  const keep = await compile((x: readonly Tensor<string>[]) => x.map(t => t.add(0)), [tensors] as const, { ...where, dims })
  const operands = await keep(drawn.map(d => d.data) as never) as readonly MeshArray[]
  keep.dispose()
  const call = async (turns: number): Promise<{ readonly x: MeshArray; readonly y: MeshArray }> => {
    const { n, ...out } = await program(Int32Array.of(turns) as never, operands as never) as { readonly n: MeshArray; readonly x: MeshArray; readonly y: MeshArray }
    // A run resolves before it is computed: it is over when one of its results can be read.
    if (await n.item() !== turns) throw new Error(`${name} took other turns than ${turns}`)
    n.dispose()
    return out
  }
  return { arrays: await writeArrays(folder, new Map(hosted)), call, operands, program }
}
let opened: Awaited<ReturnType<typeof open>> | undefined
function current(): Awaited<ReturnType<typeof open>> {
  if (opened === undefined) throw new Error('nothing is open')
  return opened
}

type Handlers = { readonly [K in keyof Answers]: (request: Extract<Request, { readonly do: K }>) => Promise<Answers[K]> }
const handlers: Handlers = {
  open: async ({ name, folder }) => {
    opened = await open(name, folder)
    const { x, y } = await opened.call(1)
    const sum = (await y.read() as TypedArray as Float32Array).reduce((s, v) => s + Math.abs(Number(v)), 0)
    x.dispose()
    y.dispose()
    return { runtime: backend.description, sum, arrays: opened.arrays }
  },
  time: async ({ turns }) => {
    const start = performance.now()
    const { x, y } = await current().call(turns)
    const ms = performance.now() - start
    x.dispose()
    y.dispose()
    return { ms }
  },
  close: () => {
    for (const o of current().operands) o.dispose()
    current().program.dispose()
    opened = undefined
    return Promise.resolve({})
  },
}
const answer = <K extends keyof Answers>(request: Extract<Request, { readonly do: K }>): Promise<Answers[K]> =>
  (handlers[request.do as K] as (r: typeof request) => Promise<Answers[K]>)(request)

for await (const line of createInterface(process.stdin)) process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Request))}\n`)
await backend.close()
