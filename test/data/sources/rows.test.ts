/** Rows of arrays, as NumPy, pandas and MNIST write them. */
import { closeSync, ftruncateSync, openSync, readFileSync, readdirSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, expect, test } from 'vitest'
import { joinRows, openCsvRows, openIdx, openNpy, openNpz, openTar, type Rows } from '../../../src/data/sources/rows/index.ts'
import { temporaryFolder } from '../temporary.ts'
import { expected, failure, fixture } from './support.ts'

const folder = temporaryFolder()
const listed = (array: ArrayLike<number | bigint> | undefined): unknown[] => Array.from(array ?? [], x => (typeof x === 'bigint' ? String(x) : x))
const flat = (name: string, rows: readonly number[]): unknown[] => rows.flatMap(r => expected.arrays[name]!.rows[r]!)
async function using<T>(opened: Promise<Rows>, use: (rows: Rows) => Promise<T> | T): Promise<T> {
  const rows = await opened
  try {
    return await use(rows)
  } finally {
    await rows.close()
  }
}
const some = [19, 0, 1, 2, 7, 7, 3]

describe('NumPy', () => {
  test('every dtype, in both orders of bytes, stored', () => using(openNpz(fixture('all.npz')), async rows => {
    expect(rows.count).toBe(20)
    const read = await rows.read(some)
    for (const [name, { dtype, shape }] of Object.entries(expected.arrays)) {
      for (const column of [name, `${name}_big`].filter(c => c in rows.columns)) {
        expect(rows.columns[column]).toEqual({ dtype, shape })
        expect(listed(read[column])).toEqual(flat(name, some))
      }
    }
    expect(Object.keys(rows.columns).length).toBeGreaterThan(18)
  }))

  test('compressed: nothing of it is left in the folder for temporary files', async () => {
    const before = readdirSync(tmpdir()).filter(f => /^meshwork-[0-9a-f]{8}-/.test(f))
    await using(openNpz(fixture('packed.npz'), { columns: ['u8', 'i64'] }), async rows => {
      expect(readdirSync(tmpdir()).filter(f => /^meshwork-[0-9a-f]{8}-/.test(f))).toEqual(before)
      expect(Object.keys(rows.columns)).toEqual(['u8', 'i64'])
      const read = await rows.read(some)
      for (const name of ['u8', 'i64']) expect(listed(read[name])).toEqual(flat(name, some))
    })
  })

  test('.npy in files of their own, in both versions; joined', async () => {
    await using(openNpy({ image: fixture('images.npy'), x: fixture('version2.npy') }), async rows => {
      expect(rows.columns).toEqual({ image: { dtype: 'u8', shape: [4, 4] }, x: { dtype: 'f32', shape: [3, 2] } })
      expect(listed((await rows.read([4]))['x'])).toEqual(flat('f32', [4]))
      expect(await rows.read([])).toEqual({ image: new Uint8Array(0), x: new Float32Array(0) })
      await expect(rows.read([20])).rejects.toThrow(/row 20 is asked for, and there are 20/)
      await expect(rows.read([-1])).rejects.toThrow(RangeError)
    })
    await using(openIdx({ label: fixture('labels-idx1-ubyte') }), labels => using(openNpy({ image: fixture('images.npy') }), async images => {
      expect(Object.keys((await joinRows(images, labels).read([0])))).toEqual(['image', 'label'])
      expect(() => joinRows(images, images)).toThrow(/same name/)
    }))
  })

  test('rows beyond 4 GiB', async () => {
    const header = `{'descr': '<u4', 'fortran_order': False, 'shape': (1400000, 1024), }`.padEnd(117) + '\n'
    const path = folder.at('far.npy')
    const file = openSync(path, 'w')
    writeSync(file, Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), Buffer.from([118, 0]), Buffer.from(header)]))
    ftruncateSync(file, 128 + 1_400_000 * 4096)
    writeSync(file, Uint32Array.of(7, 8), 0, 8, 128 + 1_399_999 * 4096)
    closeSync(file)
    await using(openNpy({ x: path }), async rows => {
      expect(rows.count).toBe(1_400_000)
      expect([...(await rows.read([1_399_999]))['x']!.subarray(0, 3)]).toEqual([7, 8, 0])
    })
  })

  test('bad input', async () => {
    const npy = readFileSync(fixture('images.npy'))
    const changed = (from: string, to: string): Buffer => Buffer.from(npy.toString('latin1').replace(from, to), 'latin1')
    const of = (content: Buffer): Promise<string> => failure(openNpy({ x: folder.file('bad.npy', content) }))
    expect(await of(npy.subarray(0, -1))).toMatch(/has 447 bytes, and its header announces 448[^]*cut off/)
    expect(await of(Buffer.concat([npy, npy]))).toMatch(/more in it than one array/)
    expect(await of(npy.subarray(0, 20))).toMatch(/its header says it has \d+ bytes/)
    expect(await of(Buffer.from('hello'))).toMatch(/does not begin as \.npy does/)
    expect(await of(changed('(20, 4, 4)', '(99999999, 99999999, 99999999)'.slice(0, 10)))).toMatch(/no descr, fortran_order and shape|announces/)
    expect(await failure(openNpy({ x: fixture('objects.npy') }))).toMatch(/elements are \|O[^]*pickled Python objects/)
    expect(await failure(openNpy({ x: fixture('structs.npy') }))).toMatch(/elements are structs/)
    expect(await failure(openNpy({ x: fixture('fortran.npy') }))).toMatch(/np\.ascontiguousarray/)
    expect(await failure(openNpy({ x: fixture('u64.npy') }))).toMatch(/elements are <u8[^]*np\.int64/)
    expect(await failure(openNpy({ a: fixture('images.npy'), b: fixture('u64.npy') }))).toMatch(/u64/)
    expect(await failure(openNpz(fixture('all.npz'), { columns: ['f33'] }))).toMatch(/no array "f33"[^]*did you mean "f32"/)
    expect(await failure(openNpz(fixture('images.npy')))).toMatch(/has no directory/)
    const packed = readFileSync(fixture('packed.npz'))
    packed[packed.indexOf('f32.npy') + 60]! ^= 4
    expect(await failure(openNpz(folder.file('spoilt.npz', packed)))).toMatch(/bad-zip\].*f32\.npy/)
  })
})

describe('IDX', () => {
  test('images and labels, compressed or not; whole numbers of 16 bits', () => using(openIdx({ image: fixture('images-idx3-ubyte.gz'), label: fixture('labels-idx1-ubyte'), short: fixture('shorts.idx') }), async rows => {
    expect(rows.columns).toEqual({ image: { dtype: 'u8', shape: [4, 4] }, label: { dtype: 'u8', shape: [] }, short: { dtype: 'i32', shape: [2] } })
    const read = await rows.read(some)
    expect(listed(read['image'])).toEqual(flat('u8', some))
    expect(listed(read['label'])).toEqual(some.map(i => i % 10))
    expect(listed(read['short'])).toEqual(flat('i16', some))
  }))

  test('bad input', async () => {
    const labels = readFileSync(fixture('labels-idx1-ubyte'))
    expect(await failure(openIdx({ x: folder.file('a', labels.subarray(0, -1)) }))).toMatch(/has 27 bytes, and its header announces 28/)
    expect(await failure(openIdx({ x: folder.file('b', 'hello') }))).toMatch(/does not begin as IDX does/)
    expect(await failure(openIdx({ x: folder.file('c', Buffer.from([0, 0, 8, 200, 0])) }))).toMatch(/says it has 200 dims/)
    expect(await failure(openIdx({ x: folder.file('d', Buffer.from('00000808ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 'hex')) }))).toMatch(/an array of shape/)
    expect(await failure(openIdx({ x: folder.file('e.gz', readFileSync(fixture('images-idx3-ubyte.gz')).subarray(0, -20)) }))).toMatch(/is cut off/)
    expect(await failure(openIdx({ x: folder.file('f', '') }))).toMatch(/does not begin/)
  })
})

describe('CSV', () => {
  test('every column as one number', () => using(openCsvRows(fixture('numbers.csv')), async rows => {
    expect(rows.count).toBe(150)
    expect(rows.columns).toEqual(Object.fromEntries(['a', 'b', 'c', 'label'].map(c => [c, { dtype: 'f32', shape: [] }])))
    const read = await rows.read([149, 0, 70, 70])
    expect(listed(read['b'])).toEqual([149, 0, 70, 70].map(r => Math.fround(expected.numbers[r]![1]!)))
  }))

  test('columns next to each other as a list, by name or place, without a header, compressed', async () => {
    const columns = { x: { from: 'a', count: 3, dtype: 'f64' }, label: { from: 'label', dtype: 'u8' } } as const
    for (const opened of [openCsvRows(fixture('numbers.csv'), { columns }), openCsvRows(fixture('numbers-bare.csv.gz'), { header: false, columns: { x: { ...columns.x, from: 0 }, label: { ...columns.label, from: '3' } } })]) {
      await using(opened, async rows => {
        expect(rows.columns).toEqual({ x: { dtype: 'f64', shape: [3] }, label: { dtype: 'u8', shape: [] } })
        const read = await rows.read(some)
        expect(listed(read['x'])).toEqual(some.flatMap(r => expected.numbers[r]!))
        expect(listed(read['label'])).toEqual(some)
      })
    }
  })

  test('bad input', async () => {
    const of = async (content: string, options?: Parameters<typeof openCsvRows>[1]): Promise<string> => failure(openCsvRows(folder.file('bad.csv', content), options).then(rows => rows.read([0])))
    expect(await of('a,b\n1,\n')).toMatch(/a value of "b" is missing\n {2}in +.*bad\.csv:2/)
    expect(await of('a,b\n1,x\n')).toMatch(/a value of "b" is "x", no number/)
    expect(await of('a\n0x10\n')).toMatch(/no number/)
    expect(await of('a\n300\n', { columns: { a: { from: 'a', dtype: 'u8' } } })).toMatch(/is 300, which u8 has not/)
    expect(await of('a,a\n1,2\n')).toMatch(/two columns are called "a"/)
    expect(await of('a,b\n1\n')).toMatch(/a record has 1 field, the first line 2\n {2}in +.*bad\.csv:2/)
    expect(await of('')).toMatch(/has no record/)
    expect(await of('a\n1\n', { columns: { a: { from: 'a', count: 2 } } })).toMatch(/no column "a", and 1 behind it/)
  })
})

test('tar: members as bytes, by record', async () => {
  const rows = await openTar(fixture('webdataset.tar'))
  expect(rows.count).toBe(20)
  const [last, first] = await rows.read([19, 0])
  expect([last!.key, Object.keys(last!.fields)]).toEqual(['shard/0019', ['cls', 'json', 'txt']])
  expect(Buffer.from(last!.fields['txt']!).toString()).toBe(expected.texts[19])
  expect(JSON.parse(Buffer.from(first!.fields['json']!).toString())).toEqual({ n: 0 })
  await expect(rows.read([20])).rejects.toThrow(RangeError)
  await rows.close()
})
