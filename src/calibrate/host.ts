/** What the host does for a step, by how many values it has: its arguments are gone through, its results become arrays, one number is read. */
import { dim } from '../core/dim.ts'
import type { Mesh } from '../core/mesh.ts'
import { compile, fromFirst, input, slowest, type MeshArray, type Scalar, type Tensor } from '../engine/index.ts'
import type { Measuring } from './measure.ts'

/** Numbers of a value: so few that computing them takes nothing. */
const numbers = 512

/** Microseconds of a step, as a run of training has it, that takes over so many values and gives as many: the least of some. Every rank of a job calls it. @throws what `signal` was aborted with */
export async function stepOfUs({ backend, signal, rounds, clock = () => performance.now() }: Measuring, mesh: Mesh, values: number): Promise<number> {
  const given = Array.from({ length: values }, (_, i) => input(`x${i}`, [dim('i', numbers)], 'f32'))
  const next = (xs: readonly Tensor<'i'>[], seed: Scalar) => ({ next: xs.map(x => x.abs()), read: seed.neg() })
  const step = await compile(next, [given, input('seed', [], 'f32')] as const, { mesh, layout: {}, backend, donate: [0] })
  let held: readonly (MeshArray | Float32Array)[] = given.map(() => new Float32Array(numbers))
  try {
    let found = Infinity
    for (let i = 0; i < 5 * rounds; i++) {
      signal?.throwIfAborted()
      const start = clock()
      const results = await step(held as never, i)
      await results.read.item()
      const taken = clock() - start
      held = results.next
      results.read.dispose()
      found = Math.min(found, await slowest(backend.processes, 'how long a step took', taken))
    }
    return await fromFirst(backend.processes, 'how long a step took', () => 1000 * found)
  } finally {
    for (const x of held) if (!(x instanceof Float32Array)) x.dispose()
    step.dispose()
  }
}
