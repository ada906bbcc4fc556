/** What programs are given: arrays of other meshes and backends, arrays that are gone, arrays twice; and that a refused call changes nothing. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { compile, dims, input, mesh, openBackend, place, type Backend, type Layout, type Mesh, type MeshArray } from '../../src/engine/index.ts'
import type { MeshworkError } from '../../src/core/errors.ts'
import { alone, type Processes } from '../../src/runtime/processes.ts'

const d = dims({ n: 4, m: 6 })
const x = input('x', [d.n, d.m])
const numbers = Float32Array.from({ length: 24 }, (_, i) => i)
const errorOf = (p: Promise<unknown>): Promise<MeshworkError> => p.then(() => { throw new Error('nothing was refused') }, e => e as MeshworkError)

const meshes: readonly { readonly mesh: Mesh; readonly layout: Layout }[] = [
  { mesh: mesh({}), layout: {} },
  { mesh: mesh({ a: 2 }), layout: { n: 'a' } },
  { mesh: mesh({ a: 2 }), layout: { m: 'a' } },
  { mesh: mesh({ a: 4 }), layout: { n: 'a' } },
  { mesh: mesh({ a: 2, b: 2 }), layout: { n: 'a' } },
  { mesh: mesh({ b: 2, a: 2 }), layout: { n: 'a' } },
  { mesh: mesh({ a: 2, b: 2 }), layout: { n: ['b', 'a'] } },
  { mesh: mesh({ b: 2, a: 2 }), layout: { n: 'b', m: 'a' } },
]
const text = ({ mesh: { axes }, layout }: (typeof meshes)[number]): string => `${axes.map(a => `${a.name}=${a.size}`).join('×') || 'one device'} ${JSON.stringify(layout)}`
const sameAxes = (a: Mesh, b: Mesh): boolean => JSON.stringify(a.axes) === JSON.stringify(b.axes)

describe.each(['simulate', 'cpu'])('%s', plugin => {
  let backend: Backend
  beforeAll(async () => { backend = await openBackend({ plugin, devices: 4 }) })
  afterAll(() => backend.close())
  const on = (i: number, donate: readonly number[] = []) => compile((x_: typeof x) => ({ y: x_.mul(2) }), [x] as const, { ...meshes[i] as (typeof meshes)[number], backend, donate })
  const numbersOf = async (array: MeshArray): Promise<number[]> => [...await array.read()].map(Number)

  test('an array of any mesh is moved to any other, also where it is donated; nothing is left over', async () => {
    const programs = await Promise.all(meshes.map((_, i) => on(i)))
    const donating = await Promise.all(meshes.map((_, i) => on(i, [0])))
    const live = backend.liveBuffers()
    const wrong: string[] = []
    for (const [i, from] of meshes.entries()) {
      for (const [k, to] of meshes.entries()) {
        if (i !== k && sameAxes(from.mesh, to.mesh)) continue
        const [source, program, taking] = [programs[i], programs[k], donating[k]]
        if (source === undefined || program === undefined || taking === undefined) throw new Error('no program')
        const { y: made } = await source(numbers)
        const { y: kept } = await program(made)
        const { y: taken } = await taking(made)
        for (const y of [kept, taken]) {
          if ((await numbersOf(y)).join() !== [...numbers].map(v => 4 * v).join()) wrong.push(`${text(from)} → ${text(to)}`)
          y.dispose()
        }
        if ((await errorOf(made.read())).code !== 'donated') wrong.push(`${text(from)} → ${text(to)}: it is not taken over`)
      }
    }
    expect(wrong).toEqual([])
    expect(backend.liveBuffers()).toBe(live)
    for (const p of [...programs, ...donating]) p.dispose()
  })

  test('an array that was placed on another mesh, of another order of dims, of another backend', async () => {
    const program = await on(3)
    const other = await openBackend({ plugin: 'simulate', devices: 2 })
    const turned = await place(backend, mesh({ b: 2 }), { shape: [d.m, d.n], dtype: 'f32', sharding: new Map([['m', ['b']]]) }, numbers, 'turned')
    const foreign = await place(other, mesh({ a: 2 }), { shape: [d.n, d.m], dtype: 'f32', sharding: new Map() }, numbers, 'foreign')
    const [a, b] = [await program(turned), await program(foreign)]
    // m n: number 4 m + n, where n m has 6 n + m.
    expect(await numbersOf(a.y)).toEqual([...numbers].map((_, i) => 2 * (4 * (i % 6) + Math.floor(i / 6))))
    expect(await numbersOf(b.y)).toEqual([...numbers].map(v => 2 * v))
    for (const array of [turned, foreign, a.y, b.y]) array.dispose()
    await other.close()
    expect(await errorOf(program(foreign))).toMatchObject({ name: 'DimError', code: 'disposed' })
    program.dispose()
  })

  test('what is on the same devices already is used as it is, whatever the axes are called', async () => {
    const [program, renamed] = [await on(3), await compile((x_: typeof x) => ({ y: x_.mul(2) }), [x] as const, { mesh: mesh({ z: 4 }), layout: { n: 'z' }, backend, donate: [0] })]
    const { y } = await program(numbers)
    const live = backend.liveBuffers()
    const { y: z } = await renamed(y)
    expect(await numbersOf(z)).toEqual([...numbers].map(v => 4 * v))
    expect(backend.liveBuffers()).toBe(live)
    z.dispose()
    for (const p of [program, renamed]) p.dispose()
  })

  test('what cannot be is refused before anything starts: nothing is taken over, and the next call runs', async () => {
    const pair = await compile((a: typeof x, b: typeof x) => ({ y: a.add(b) }), [x, input('z', [d.n, d.m])] as const, { ...meshes[3] as (typeof meshes)[number], backend, donate: [0] })
    const [single, integers] = [await on(3), await compile((i: ReturnType<typeof ints>) => i.add(1), [ints()] as const, { ...meshes[3] as (typeof meshes)[number], backend })]
    const [{ y: a }, { y: b }, whole] = [await single(numbers), await single(numbers), await integers(new Int32Array(24))]
    const gone = (await single(numbers)).y
    gone.dispose()
    const refused: MeshworkError[] = []
    for (const b_ of [a, gone, whole as never, new Float32Array(3), () => Promise.reject(new RangeError('no data')), () => new Int32Array(6)]) refused.push(await errorOf(pair(a, b_)))
    expect(refused.map(e => [e.name, e.code])).toEqual([
      ['DimError', 'donated-twice'], ['DimError', 'disposed'], ['DimError', 'placement'], ['DimError', 'element-count'], ['RangeError', undefined], ['DimError', 'dtype'],
    ])
    const first = await pair(a, b)
    expect(await numbersOf(first.y)).toEqual([...numbers].map(v => 4 * v))
    expect(await errorOf(pair(a, b))).toMatchObject({ name: 'DimError', code: 'donated', problem: { at: { file: expect.stringContaining('arguments.test.ts') as string } } })
    expect(await errorOf(a.read())).toMatchObject({ code: 'donated' })
    for (const array of [b, whole, first.y]) array.dispose()
    for (const p of [pair, single, integers]) p.dispose()
  })

  test('calls that are not awaited run in their order, and each array is taken over once', async () => {
    const program = await on(1, [0])
    const { y: start } = await program(numbers)
    const calls = [program(start), program(start)]
    expect(await errorOf(calls[1] as Promise<unknown>)).toMatchObject({ code: 'donated' })
    let { y } = await (calls[0] as ReturnType<typeof program>)
    for (let i = 0; i < 30; i++) y = (await program(y)).y
    expect(await numbersOf(y)).toEqual([...numbers].map(v => v * 2 ** 32))
    y.dispose()
    program.dispose()
  })

  test('an array may be disposed while a call uses it', async () => {
    const program = await on(1)
    const { y } = await program(numbers)
    const later = compile((a: typeof x, b: typeof x) => ({ y: a.add(b) }), [x, input('z', [d.n, d.m])] as const, { ...meshes[1] as (typeof meshes)[number], backend })
    const call = (await later)(y, async ({ sizes }) => Promise.resolve(new Float32Array(sizes.reduce((n, s) => n * s, 1))))
    y.dispose()
    expect(await numbersOf((await call).y)).toEqual([...numbers].map(v => 2 * v))
    program.dispose()
  })
})
const ints = () => input('i', [d.n, d.m], 'i32')

test('between processes nothing is moved: the error names both meshes', async () => {
  const backend = await openBackend({ plugin: 'simulate', devices: 4 })
  // Two processes, as far as anybody can tell.
  const processes: Processes = { ...alone, count: 2, hosts: ['here', 'there'] }
  const two: Backend = Object.assign(Object.create(backend) as Backend, { processes })
  const program = await compile((x_: typeof x) => ({ y: x_.mul(2) }), [x] as const, { mesh: mesh({ a: 2, b: 2 }), layout: { n: 'a' }, backend: two })
  const array = await place(two, mesh({ b: 2, a: 2 }), { shape: [d.n, d.m], dtype: 'f32', sharding: new Map([['n', ['a']]]) }, numbers, 'x')
  const refused = await errorOf(program(array))
  expect(refused).toMatchObject({ name: 'DimError', code: 'other-mesh' })
  expect(refused.message).toMatch(/lies on the mesh b=2 × a=2, and the program is for the mesh a=2 × b=2/)
  await backend.close()
})

test('`using` frees arrays, programs and backends', async () => {
  let kept: Backend
  {
    await using backend = await openBackend({ plugin: 'simulate', devices: 2 })
    kept = backend
    using program = await compile((x_: typeof x) => x_.mul(2), [x] as const, { mesh: mesh({ a: 2 }), layout: { n: 'a' }, backend })
    {
      using y = await program(numbers)
      expect(backend.liveBuffers()).toBe(2)
      expect((await y.read())[1]).toBe(2)
    }
    expect(backend.liveBuffers()).toBe(0)
    await program(numbers)
  }
  expect(kept.liveBuffers()).toBe(0)
})
