/** The simulator on several devices: collectives, and control flow that all devices must agree on. */
import { describe, expect, test } from 'vitest'
import { openSimulate } from '../../src/runtime/simulate/backend.ts'

/** Runs `body` on a parameter `%x`, of which each device has its own values, and gives what each returns. */
async function run(held: readonly (readonly number[])[], body: string, shape = [held[0]?.length ?? 0]): Promise<number[][]> {
  const backend = await openSimulate({ devices: held.length })
  const text = `func.func @main(%x: tensor<${[...shape, 'i32'].join('x')}>) -> tensor<i32> { ${body} }`
  const program = await backend.compile({ text, devices: held.length, donated: [] })
  const put = async (row: readonly number[], device: number) => [await backend.put(Int32Array.from(row), { shape, dtype: 'i32' }, device)]
  const args = await Promise.all(held.map(put))
  const results = await program.execute(args)
  return Promise.all(results.map(async row => (await Promise.all(row.map(b => b.read()))).flatMap(data => Array.from(data, Number))))
}

/** One op from %x to a result, returned. */
const op = (name: string, attrs: string, from: string, to: string, region = ''): string =>
  `%r = "stablehlo.${name}"(%x) <{${attrs}}> ${region} : (tensor<${from}>) -> tensor<${to}> loc("net.ts":4:2)
   "func.return"(%r) : (tensor<${to}>) -> ()`
const body = (name: string): string => `({ ^bb0(%a: tensor<i32>, %b: tensor<i32>):
  %c = "stablehlo.${name}"(%a, %b) : (tensor<i32>, tensor<i32>) -> tensor<i32>
  "stablehlo.return"(%c) : (tensor<i32>) -> () })`
const groups = (rows: readonly (readonly number[])[]): string =>
  `replica_groups = dense<${JSON.stringify(rows)}> : tensor<${rows.length}x${rows[0]?.length}xi64>`

const pairs = groups([[0, 1], [2, 3]])
const four = [[1, 2], [3, 4], [5, 6], [7, 8]]
/** Device d holds 8d … 8d + 7. */
const eights = [0, 8, 16, 24].map(start => Array.from({ length: 8 }, (_, i) => start + i))

describe('collectives', () => {
  test('all_reduce adds within groups', async () => {
    expect(await run(four, op('all_reduce', pairs, '2xi32', '2xi32', body('add')))).toEqual([[4, 6], [4, 6], [12, 14], [12, 14]])
  })
  test('all_reduce over one group with a gap between its members, by maximum', async () => {
    const attrs = `${groups([[0, 2], [3, 1]])}, channel_handle = #stablehlo.channel_handle<handle = 1, type = 0>, use_global_device_ids`
    expect(await run([[1, 9], [3, 4], [5, 6], [7, 2]], op('all_reduce', attrs, '2xi32', '2xi32', body('maximum'))))
      .toEqual([[5, 9], [7, 4], [5, 9], [7, 4]])
  })
  test('groups may be of several sizes', async () => {
    expect(await run(four, op('all_reduce', groups([[0, 1, 3], [2, -1, -1]]), '2xi32', '2xi32', body('add'))))
      .toEqual([[11, 14], [11, 14], [5, 6], [11, 14]])
  })
  test('all_reduce takes several operands', async () => {
    const text = `%r:2 = "stablehlo.all_reduce"(%x, %x) <{${pairs}}> ${body('multiply')}
      : (tensor<2xi32>, tensor<2xi32>) -> (tensor<2xi32>, tensor<2xi32>) "func.return"(%r#1, %r#0) : (tensor<2xi32>, tensor<2xi32>) -> ()`
    expect(await run(four, text)).toEqual([[3, 8, 3, 8], [3, 8, 3, 8], [35, 48, 35, 48], [35, 48, 35, 48]])
  })
  test('all_gather puts the parts in the order of the group', async () => {
    const gather = op('all_gather', `all_gather_dim = 0 : i64, ${groups([[1, 0], [2, 3]])}`, '2xi32', '4xi32')
    expect(await run(four, gather)).toEqual([[3, 4, 1, 2], [3, 4, 1, 2], [5, 6, 7, 8], [5, 6, 7, 8]])
  })
  test('all_gather along the last dim', async () => {
    const gather = op('all_gather', `all_gather_dim = 1 : i64, ${pairs}`, '2x1xi32', '2x2xi32')
    expect(await run(four, gather, [2, 1])).toEqual([[1, 3, 2, 4], [1, 3, 2, 4], [5, 7, 6, 8], [5, 7, 6, 8]])
  })
  test('reduce_scatter gives each member its part of the sum', async () => {
    const scatter = op('reduce_scatter', `scatter_dimension = 0 : i64, ${pairs}`, '2xi32', '1xi32', body('add'))
    expect(await run(four, scatter)).toEqual([[4], [6], [12], [14]])
  })
  test('all_to_all splits one dim and fills another', async () => {
    const attrs = `split_dimension = 1 : i64, concat_dimension = 0 : i64, split_count = 2 : i64, ${pairs}`
    expect(await run(eights, op('all_to_all', attrs, '2x4xi32', '4x2xi32'), [2, 4])).toEqual([
      [0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15], [16, 17, 20, 21, 24, 25, 28, 29], [18, 19, 22, 23, 26, 27, 30, 31],
    ])
  })
  test('all_to_all along one dim exchanges blocks', async () => {
    const attrs = `split_dimension = 0 : i64, concat_dimension = 0 : i64, split_count = 4 : i64, ${groups([[0, 1, 2, 3]])}`
    const held = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]
    expect(await run(held, op('all_to_all', attrs, '4xi32', '4xi32')))
      .toEqual([[1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15], [4, 8, 12, 16]])
  })
  test('collective_permute gives zeros to those that nobody sends to', async () => {
    const ring = 'source_target_pairs = dense<[[0, 1], [1, 2], [3, 3]]> : tensor<3x2xi64>'
    expect(await run(four, op('collective_permute', ring, '2xi32', '2xi32'))).toEqual([[0, 0], [1, 2], [3, 4], [7, 8]])
  })
  test('collective_broadcast sends what the first of a group holds', async () => {
    expect(await run(four, op('collective_broadcast', groups([[2, 1]]), '2xi32', '2xi32'))).toEqual([[0, 0], [5, 6], [5, 6], [0, 0]])
  })
  test('replica_id tells the devices apart, partition_id does not', async () => {
    const ids = `%r = "stablehlo.replica_id"() : () -> tensor<ui32> %p = "stablehlo.partition_id"() : () -> tensor<ui32>
      "func.return"(%r, %p) : (tensor<ui32>, tensor<ui32>) -> ()`
    expect(await run([[0], [0], [0]], ids)).toEqual([[0, 0], [1, 0], [2, 0]])
  })

  const channel = 'channel_handle = #stablehlo.channel_handle<handle = 1, type = 0>'
  const wrong = {
    'a device in two groups': [op('all_reduce', groups([[0, 1], [1, 2]]), '2xi32', '2xi32', body('add')), /none twice/],
    'a device in no group': [op('all_reduce', groups([[0, 1]]), '2xi32', '2xi32', body('add')), /all 4 devices/],
    'a device that is not there': [op('all_reduce', groups([[0, 1], [2, 4]]), '2xi32', '2xi32', body('add')), /below 4/],
    'a result of another size': [op('all_gather', `all_gather_dim = 0 : i64, ${pairs}`, '2xi32', '8xi32'), /resized for the groups/],
    'two senders to one device': [
      op('collective_permute', 'source_target_pairs = dense<[[0, 1], [2, 1]]> : tensor<2x2xi64>', '2xi32', '2xi32'), /at most once a side/,
    ],
    'a channel, over which XLA would look for partitions': [
      op('collective_permute', `source_target_pairs = dense<[[0, 1]]> : tensor<1x2xi64>, ${channel}`, '2xi32', '2xi32'),
      /leave out channel_handle/,
    ],
  } satisfies Record<string, [string, RegExp]>
  test.each(Object.entries(wrong))('rejects %s', async (_, [text, says]) => {
    await expect(run(four, text)).rejects.toThrow(says)
    await expect(run(four, text)).rejects.toThrow('net.ts:4:2')
  })
})

const constant = (name: string, value: string, type = 'i32'): string =>
  `%${name} = "stablehlo.constant"() <{value = dense<${value}> : tensor<${type}>}> : () -> tensor<${type}>`
const scalar = '%s = "stablehlo.reshape"(%x) : (tensor<1xi32>) -> tensor<i32>'
const compare = (result: string, a: string, b: string): string => `%${result} = "stablehlo.compare"(%${a}, %${b})
  <{comparison_direction = #stablehlo<comparison_direction LT>}> : (tensor<i32>, tensor<i32>) -> tensor<i1>`
/** Counts %n up to %end, and passes %v on around a ring of two, adding %x. */
const ring = (end: string): string => `${constant('zero', '0')} ${constant('one', '1')} ${constant('three', '3')} ${scalar}
  %r:2 = "stablehlo.while"(%zero, %x) ({
  ^bb0(%n: tensor<i32>, %v: tensor<1xi32>):
    ${compare('go', 'n', end)}
    "stablehlo.return"(%go) : (tensor<i1>) -> ()
  }, {
  ^bb0(%n: tensor<i32>, %v: tensor<1xi32>):
    %m = "stablehlo.add"(%n, %one) : (tensor<i32>, tensor<i32>) -> tensor<i32>
    %p = "stablehlo.collective_permute"(%v) <{source_target_pairs = dense<[[0, 1], [1, 0]]> : tensor<2x2xi64>}>
      : (tensor<1xi32>) -> tensor<1xi32>
    %w = "stablehlo.add"(%p, %x) : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
    "stablehlo.return"(%m, %w) : (tensor<i32>, tensor<1xi32>) -> ()
  }) : (tensor<i32>, tensor<1xi32>) -> (tensor<i32>, tensor<1xi32>) loc("loop.ts":7:3)
  "func.return"(%r, %r#1) : (tensor<i32>, tensor<1xi32>) -> ()`
/** Branches that give 10, 20 and 30. */
const branches = (count: number): string => Array.from({ length: count }, (_, i) =>
  `{ ${constant('k', String(10 * i + 10))} "stablehlo.return"(%k) : (tensor<i32>) -> () }`).join(', ')

describe('control flow', () => {
  test('a loop sees the values around it and talks between devices', async () => {
    // 1, 5 → 6, 6 → 7, 11 → 12, 12
    expect(await run([[1], [5]], ring('three'))).toEqual([[3, 12], [3, 12]])
  })
  test('a loop may run no times', async () => {
    expect(await run([[1], [5]], ring('zero'))).toEqual([[0, 1], [0, 5]])
  })
  test('a loop that the devices leave at different times is an error', async () => {
    const failure = run([[2], [4]], ring('s'))
    await expect(failure).rejects.toMatchObject({ code: 'devices-disagree' })
    await expect(failure).rejects.toThrow(/disagree on whether to go on[^]*on each device +0, 1[^]*loop\.ts:7:3/)
  })
  test.each([[-1, 30], [0, 10], [1, 20], [2, 30], [9, 30]])('case %i gives %i', async (index, expected) => {
    const text = `${scalar} %r = "stablehlo.case"(%s) (${branches(3)}) : (tensor<i32>) -> tensor<i32>
      "func.return"(%r) : (tensor<i32>) -> ()`
    expect(await run([[index], [index]], text)).toEqual([[expected], [expected]])
  })
  test.each([[-4, 10], [4, 20]])('if %i < 0 gives %i', async (x, expected) => {
    const text = `${scalar} ${constant('zero', '0')} ${compare('c', 's', 'zero')}
      %r = "stablehlo.if"(%c) (${branches(2)}) : (tensor<i1>) -> tensor<i32> "func.return"(%r) : (tensor<i32>) -> ()`
    expect(await run([[x]], text)).toEqual([[expected]])
  })
  test('of branches in which no device waits for another each takes its own', async () => {
    const choice = (branch: string): string => `${scalar} ${constant('zero', '0')} ${compare('c', 's', 'zero')}
      %r = "stablehlo.if"(%c) (${branch}) : (tensor<i1>) -> tensor<i32> "func.return"(%r) : (tensor<i32>) -> ()`
    expect(await run([[-4], [4]], choice(branches(2)))).toEqual([[10], [20]])
    const waiting = branches(2).replace(/"stablehlo.return"\(/, `%all = "stablehlo.all_reduce"(%s) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
      ^bb0(%p: tensor<i32>, %q: tensor<i32>): %sum = "stablehlo.add"(%p, %q) : (tensor<i32>, tensor<i32>) -> tensor<i32> "stablehlo.return"(%sum) : (tensor<i32>) -> ()
    }) : (tensor<i32>) -> tensor<i32> "stablehlo.return"(`)
    await expect(run([[-4], [4]], choice(waiting))).rejects.toMatchObject({ code: 'devices-disagree' })
  })
  test('functions call functions, with values of their own', async () => {
    const text = `%y:2 = "func.call"(%x) <{callee = @twice}> : (tensor<1xi32>) -> (tensor<1xi32>, tensor<1xi32>)
      %z = "stablehlo.add"(%y#0, %y#1) : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
      return %z : tensor<1xi32>
    }
    func.func private @twice(%y: tensor<1xi32>) -> (tensor<1xi32>, tensor<1xi32>) {
      %z = "func.call"(%y) <{callee = @square}> : (tensor<1xi32>) -> tensor<1xi32>
      func.return %z, %y : tensor<1xi32>, tensor<1xi32>
    }
    func.func private @square(%x: tensor<1xi32>) -> tensor<1xi32> {
      %z = "stablehlo.multiply"(%x, %x) : (tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
      return %z : tensor<1xi32>`
    expect(await run([[3], [4]], text)).toEqual([[12], [20]])
  })
  test('a function that calls itself is an error', async () => {
    const call = '%z = "func.call"(%x) <{callee = @again}> : (tensor<1xi32>) -> tensor<1xi32> return %z : tensor<1xi32>'
    const text = `${call} } func.func @again(%x: tensor<1xi32>) -> tensor<1xi32> { ${call}`
    await expect(run([[3]], text)).rejects.toThrow('@again calls itself')
  })
})
