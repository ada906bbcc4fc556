/** Collectives as a program runs them: a loop of many in one StableHLO module, on every rank. */
import { i64s, tensorType } from '../../src/stablehlo/writer.ts'
import type { Backend } from '../../src/engine/index.ts'
import type { DeviceBuffer, Executable } from '../../src/runtime/backend.ts'
import type { CollectiveName, CollectiveTask } from '../task.ts'

interface Form { readonly target: string; readonly from: readonly number[]; readonly to: readonly number[]; readonly more: string }

/** What the native library takes and gives for `n` elements in the larger buffer of a rank. */
const forms: { readonly [N in CollectiveName]: (n: number, ranks: number) => Form } = {
  allreduce: n => ({ target: 'all_reduce', from: [n], to: [n], more: ', kind = 0 : i32' }),
  allgather: (n, p) => ({ target: 'all_gather', from: [n / p], to: [p, n / p], more: '' }),
  reduce_scatter: (n, p) => ({ target: 'reduce_scatter', from: [p, n / p], to: [n / p], more: ', kind = 0 : i32' }),
  alltoall: (n, p) => ({ target: 'all_to_all', from: [p, n / p], to: [p, n / p], more: '' }),
  sendrecv: (n, p) => ({ target: 'permute', from: [n], to: [n], more: `, pairs = ${i64s(Array.from({ length: p }, (_, i) => [i, (i + 1) % p]).flat())}` }),
}

/** `times` collectives, one after another; an all-reduce works in place, as it does in a model's program. Its result is a count. */
function moduleText({ target, from, to, more }: Form, ranks: number, times: number): string {
  const [x, y, count, token] = [tensorType(from, 'f32'), tensorType(to, 'f32'), 'tensor<i32>', '!stablehlo.token']
  const inPlace = target === 'all_reduce'
  const alias = inPlace ? ', output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [0], operand_index = 0, operand_tuple_indices = []>]' : ''
  const config = `at = "", axes = ${i64s([0])}, mesh = ${i64s([ranks])}, what = "${target}"${more}`
  const state = `${count}, ${x}, ${token}`
  const number = (name: string, value: number): string => `%${name} = "stablehlo.constant"() <{value = dense<${value}> : ${count}}> : () -> ${count}`
  return `module @bench {
  func.func public @main(%x0: ${x}) -> (${count}) {
    ${number('c0', 0)}
    %t0 = "stablehlo.create_token"() : () -> ${token}
    %w:3 = "stablehlo.while"(%c0, %x0, %t0) ({
    ^bb0(%ai: ${count}, %ax: ${x}, %at: ${token}):
      ${number('limit', times)}
      %go = "stablehlo.compare"(%ai, %limit) <{comparison_direction = #stablehlo<comparison_direction LT>}> : (${count}, ${count}) -> tensor<i1>
      "stablehlo.return"(%go) : (tensor<i1>) -> ()
    }, {
    ^bb0(%bi: ${count}, %bx: ${x}, %bt: ${token}):
      %r:2 = "stablehlo.custom_call"(%bx, %bt) <{api_version = 4 : i32, backend_config = {${config}}, call_target_name = "meshwork.${target}", has_side_effect = true${alias}}> : (${x}, ${token}) -> (${y}, ${token})
      ${number('one', 1)}
      %n = "stablehlo.add"(%bi, %one) : (${count}, ${count}) -> ${count}
      "stablehlo.return"(%n, ${inPlace ? '%r#0' : '%bx'}, %r#1) : (${state}) -> ()
    }) : (${state}) -> (${state})
    "func.return"(%w#0) : (${count}) -> ()
  }
}
`
}

interface Made { readonly program: Executable; readonly x: DeviceBuffer }

/** A run is over when its result can be read; it is there to be read long before. */
async function run({ program, x }: Made): Promise<void> {
  const [[y] = []] = await program.execute([[x]])
  await y?.read()
  y?.dispose()
}

export class Collectives {
  readonly #backend: Backend
  readonly #made = new Map<string, Promise<Made>>()

  constructor(backend: Backend) { this.#backend = backend }

  /** Microseconds for each of `times` collectives in one run of a program. */
  async time({ op, bytes, times }: CollectiveTask): Promise<number> {
    const key = `${op} ${bytes} ${times}`
    const made = this.#made.get(key) ?? this.#make({ op, bytes, times })
    this.#made.set(key, made)
    const { program, x } = await made
    const begin = performance.now()
    await run({ program, x })
    return (performance.now() - begin) * 1000 / times
  }

  dispose(): void {
    for (const made of this.#made.values()) void made.then(({ program, x }) => { x.dispose(); program.dispose() })
  }

  async #make({ op, bytes, times }: CollectiveTask): Promise<Made> {
    const { deviceCount: ranks, processes: { rank } } = this.#backend
    const form = forms[op](bytes / 4, ranks)
    const program = await this.#backend.compile({ text: moduleText(form, ranks, times), devices: ranks, donated: [] })
    const shape = form.from
    const x = await this.#backend.put(new Float32Array(shape.reduce((n, s) => n * s, 1)), { shape, dtype: 'f32' }, rank)
    const made = { program, x }
    await run(made)
    return made
  }
}
