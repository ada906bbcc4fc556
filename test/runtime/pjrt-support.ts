/** Hand-written programs, and the plugin to run them on. */
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { installPlugin } from '../../src/runtime/plugins/index.ts'
import type { Backend, DeviceBuffer } from '../../src/runtime/backend.ts'

/** The library; downloaded where the setup has not done so. */
export const pluginLibrary = async (): Promise<string> =>
  process.env['PJRT_PLUGIN_LIBRARY_PATH'] ?? (await installPlugin('cpu')).path

/** Opens the plugin, runs the test, closes it also when the test fails. */
export async function withBackend(devices: number, test: (backend: Backend) => Promise<void>, cacheDir?: string): Promise<void> {
  const backend = await openPjrt({ library: await pluginLibrary(), devices, cacheDir })
  try {
    await test(backend)
  } finally {
    await backend.close()
  }
}

export const addProgram = (size: number): string => `
module @add {
  func.func public @main(%x: tensor<${size}xf32>, %y: tensor<${size}xf32>) -> tensor<${size}xf32> {
    %0 = "stablehlo.add"(%x, %y) : (tensor<${size}xf32>, tensor<${size}xf32>) -> tensor<${size}xf32>
    "func.return"(%0) : (tensor<${size}xf32>) -> ()
  }
}`

/** Sums a vector over the given groups of replicas. */
export const allReduceProgram = (groups: readonly (readonly number[])[]): string => `
module @reduce {
  func.func public @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = "stablehlo.all_reduce"(%x) ({
      ^bb0(%a: tensor<f32>, %b: tensor<f32>):
        %s = "stablehlo.add"(%a, %b) : (tensor<f32>, tensor<f32>) -> tensor<f32>
        "stablehlo.return"(%s) : (tensor<f32>) -> ()
    }) {replica_groups = dense<${JSON.stringify(groups)}> : tensor<${groups.length}x${groups[0]?.length ?? 0}xi64>}
      : (tensor<4xf32>) -> tensor<4xf32>
    "func.return"(%0) : (tensor<4xf32>) -> ()
  }
}`

/** x ↦ x + 1 in the memory of x. */
export const donatingProgram = (size: number): string => `
module @donate {
  func.func public @main(%x: tensor<${size}xf32> {tf.aliasing_output = 0 : i32}, %y: tensor<f32>) -> tensor<${size}xf32> {
    %0 = "stablehlo.broadcast_in_dim"(%y) {broadcast_dimensions = array<i64>} : (tensor<f32>) -> tensor<${size}xf32>
    %1 = "stablehlo.add"(%x, %0) : (tensor<${size}xf32>, tensor<${size}xf32>) -> tensor<${size}xf32>
    "func.return"(%1) : (tensor<${size}xf32>) -> ()
  }
}`

/** Multiplies a matrix by itself as often as its argument says. */
export const loopProgram = `
module @loop {
  func.func public @main(%n: tensor<i32>) -> (tensor<i32>, tensor<300x300xf32>) {
    %zero = "stablehlo.constant"() {value = dense<0> : tensor<i32>} : () -> tensor<i32>
    %one = "stablehlo.constant"() {value = dense<1> : tensor<i32>} : () -> tensor<i32>
    %m = "stablehlo.constant"() {value = dense<0.001> : tensor<300x300xf32>} : () -> tensor<300x300xf32>
    %r:2 = "stablehlo.while"(%zero, %m) ({
      ^bb0(%i: tensor<i32>, %v: tensor<300x300xf32>):
        %c = "stablehlo.compare"(%i, %n) {comparison_direction = #stablehlo<comparison_direction LT>}
          : (tensor<i32>, tensor<i32>) -> tensor<i1>
        "stablehlo.return"(%c) : (tensor<i1>) -> ()
    }, {
      ^bb0(%i: tensor<i32>, %v: tensor<300x300xf32>):
        %j = "stablehlo.add"(%i, %one) : (tensor<i32>, tensor<i32>) -> tensor<i32>
        %w = "stablehlo.dot_general"(%v, %m) {dot_dimension_numbers = #stablehlo.dot<lhs_contracting_dimensions = [1],
          rhs_contracting_dimensions = [0]>} : (tensor<300x300xf32>, tensor<300x300xf32>) -> tensor<300x300xf32>
        "stablehlo.return"(%j, %w) : (tensor<i32>, tensor<300x300xf32>) -> ()
    }) : (tensor<i32>, tensor<300x300xf32>) -> (tensor<i32>, tensor<300x300xf32>)
    "func.return"(%r#0, %r#1) : (tensor<i32>, tensor<300x300xf32>) -> ()
  }
}`

export const putVector = (backend: Backend, values: readonly number[], device: number): Promise<DeviceBuffer> =>
  backend.put(Float32Array.from(values), { shape: [values.length], dtype: 'f32' }, device)

/** Reads every result of every device as plain numbers, and frees them. */
export async function take(results: readonly (readonly DeviceBuffer[])[]): Promise<number[][][]> {
  const values = await Promise.all(results.map((row) => Promise.all(row.map(async (buffer) => Array.from(await buffer.read(), Number)))))
  free(results)
  return values
}

export const free = (rows: readonly (readonly DeviceBuffer[])[]): void => { for (const buffer of rows.flat()) buffer.dispose() }
