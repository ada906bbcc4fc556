/** The sides of the section on speed: how each is started, asked and given what it trains on. */
import { writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threefry2x32 } from '../../src/core/threefry.ts'
import { built } from '../built.ts'
import type { Row } from '../measure.ts'
import { asCommand, asUsers, Worker } from '../process.ts'
import { batches, isQuick, type Configuration } from './configurations.ts'
import type { Answers } from './worker.ts'

export type Say = (line: string) => void
export interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }
export interface Side { readonly name: string; readonly worker: Worker; readonly open: object }

/** Steps before the first that is timed, and of a visit, whose first is not counted: it finds the caches full of another's data. */
export const [warmup, visit] = [3, isQuick ? 2 : 4] as const
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
/** `MESHWORK_BENCH_ISA=avx2`: every side is held to AVX2, each by its own switch, as on a CPU that has no more. */
export const isAvx2: boolean = process.env['MESHWORK_BENCH_ISA'] === 'avx2'
// What Inductor keeps does not tell instruction sets apart: AVX-512's code with AVX2's headers gives NaN, or breaks the heap.
const avx2 = { XLA_FLAGS: '--xla_cpu_max_isa=AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2', MKL_ENABLE_INSTRUCTIONS: 'AVX2', ATEN_CPU_CAPABILITY: 'avx2', TORCHINDUCTOR_CACHE_DIR: join(tmpdir(), `torchinductor-avx2-${userInfo().username}`) }
// On a card XLA takes three quarters of the memory at once unless it is told not to, and several sides are open at a time.
const switches = { XLA_PYTHON_CLIENT_PREALLOCATE: 'false', ...isAvx2 ? avx2 : {} }
const python = { ...asUsers, ...switches, PYTHONDONTWRITEBYTECODE: '1', PYTHONPATH: ['.', '../tiny', '../parallel', '../../test/oracle'].map(here).join(':') }

export const startOurs = async (name: string): Promise<Worker> => new Worker(name, process.execPath, ['--expose-gc', await built('speed/worker')], { ...asCommand, ...switches })
export const startTorch = (name: string, interpreter: string): Worker => new Worker(name, interpreter, [here('torch_models.py')], python)
/** `platform`: JAX's name of what it is to run on. */
export const startJax = (interpreter: string, platform = 'cpu', devices = 1): Worker => new Worker('JAX', interpreter, [here('jax_models.py')], { ...python, JAX_PLATFORMS: platform, MESHWORK_BENCH_DEVICES: String(devices) })

export const ask = async <K extends keyof Answers>(w: Worker, request: { readonly do: K; readonly [field: string]: unknown }): Promise<Answers[K]> => await w.say(JSON.stringify(request)) as Answers[K]
export const cells = (values: readonly string[]): string => `| ${values.join(' | ')} |`

/** Random tokens and images: what they are does not change the work. */
export async function writeBatches(folder: string, { kind, config, batch }: Configuration): Promise<void> {
  const drawn = (count: number, i: number, below: number): number[] => Array.from({ length: count }, (_, k) => (threefry2x32(5, i, k, 0) >>> 0) % below)
  for (let i = 0; i < batches; i++) {
    if (kind === 'images' && 'height' in config) {
      await writeFile(join(folder, `images.${i}`), Uint8Array.from(drawn(batch * config.height * config.width * config.channels, i, 256)))
      await writeFile(join(folder, `labels.${i}`), Int32Array.from(drawn(batch, i, config.classes)))
    } else if ('vocab' in config) await writeFile(join(folder, `batch.${i}`), Int32Array.from(drawn(2 * batch * config.seq, i, config.vocab)))
  }
}
