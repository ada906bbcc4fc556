/** A backend whose programs call our own kernels, for the tests of these: they are left out where no C compiler builds the kernels. */
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { openBackend, type Backend, type MeshArray } from '../../src/engine/index.ts'
import { draw } from './values.ts'

/** Opens it before a file's tests, and closes it behind them. @returns what gives the backend to a test */
export function backendOfKernels(devices: number): () => Backend {
  let backend: Backend | undefined
  let built = false
  beforeAll(async () => {
    backend = await openBackend({ devices, cache: false })
    built = await backend.kernels()
  })
  afterAll(async () => { await backend?.close() })
  beforeEach(({ skip }) => { skip(!built, 'there is no C compiler here that builds the kernels') })
  return () => {
    if (backend === undefined) throw new Error('the backend is opened before the first test')
    return backend
  }
}

/** From −1 to 1. */
export const numbers = (n: number, seed: number): Float32Array<ArrayBuffer> => Float32Array.from({ length: n }, (_, i) => 2 * draw(seed, i) - 1)

/** The numbers of an array, which is freed. */
export async function taken(array: MeshArray): Promise<Float32Array> {
  const read = await array.read() as Float32Array
  array.dispose()
  return read.slice()
}
