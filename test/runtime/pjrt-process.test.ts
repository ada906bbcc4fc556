/** The plugin in a process of its own: the environment it sees, and how the process ends. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wantedFlags } from '../../src/runtime/pjrt/cpu/platform.ts'
import { knownFlags, mergeFlags } from '../../src/runtime/pjrt/environment.ts'
import { loopProgram, pluginLibrary } from './pjrt-support.ts'

// Each test starts Node and the plugin anew, perhaps on a busy machine.

let dir = ''
beforeAll(async () => { dir = await mkdtemp(join(tmpdir(), 'meshwork-process-')) })
afterAll(() => rm(dir, { recursive: true, force: true }))

interface Ended { readonly code: number | null; readonly signal: string | null; readonly out: string; readonly err: string }

const asText = (value: string): string => JSON.stringify(value)
const source = new URL('../../src/runtime/pjrt/index.ts', import.meta.url).href

/** A module in which `backend`, `getenv` and `loop(turns)` are there; it runs in a worker thread if asked to. */
const module = async (body: string, inWorker: boolean): Promise<string> => `
import { isMainThread, Worker } from 'node:worker_threads'
import { openPjrt } from ${asText(source)}
import koffi from ${asText(import.meta.resolve('koffi'))}
const again = 'import(workerData.tsx).then(({ register }) => { register(); return import(workerData.url) })'
const workerData = { tsx: ${asText(import.meta.resolve('tsx/esm/api'))}, url: import.meta.url }
if (isMainThread && ${inWorker}) new Worker('const { workerData } = require("node:worker_threads");' + again, { eval: true, workerData })
else await main()
async function main() {
  const backend = await openPjrt({ library: ${asText(await pluginLibrary())}, devices: 4 })
  const getenv = koffi.load(null).func('getenv', 'str', ['str'])
  const loop = async (turns) => {
    const program = await backend.compile({ text: ${asText(loopProgram)}, devices: 4, donated: [] })
    const args = await Promise.all([0, 1, 2, 3].map(async (d) => [await backend.put(Int32Array.of(turns), { shape: [], dtype: 'i32' }, d)]))
    return program.execute(args)
  }
  ${body}
}`

async function runModule(body: string, env: Readonly<Record<string, string>> = {}, inWorker = false): Promise<Ended> {
  const path = join(dir, `${crypto.randomUUID()}.mts`)
  await writeFile(path, await module(body, inWorker))
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), path], {
      env: { ...process.env, XLA_FLAGS: '', ...env },
    })
    let out = ''
    let err = ''
    child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString() })
    child.stderr.on('data', (chunk: Buffer) => { err += chunk.toString() })
    child.on('close', (code, signal) => { resolve({ code, signal, out, err }) })
  })
}

// A run of hours: a test that waited for it would never end.
const ENDLESS = 2_000_000_000

describe('the process', () => {
  it('ends well, and without a word, when the backend is closed, and when it is not', async () => {
    const said = { code: 0, out: '3\n', err: '' }
    const body = 'console.log((await (await loop(3))[0][0].read())[0])'
    expect(await runModule(`${body}; await backend.close()`)).toMatchObject(said)
    expect(await runModule(body)).toMatchObject(said)
  })

  it('leaves at once in the middle of a run, with the code it was given', async () => {
    expect(await runModule(`loop(${ENDLESS}); setTimeout(() => process.exit(7), 300)`)).toMatchObject({ code: 7, signal: null, err: '' })
  })

  it('leaves at once when an error is not caught in the middle of a run', async () => {
    const ended = await runModule(`loop(${ENDLESS}); setTimeout(() => { throw new Error('lost') }, 300)`)
    expect(ended).toMatchObject({ code: 1, signal: null, err: expect.stringContaining('Error: lost') as string })
  })

  it('hears a signal while it waits for the result of a run', async () => {
    const ended = await runModule(`
      process.on('SIGINT', () => { console.log('heard'); process.exit(130) })
      loop(${ENDLESS}).then(([[y]]) => y.read()); setTimeout(() => process.kill(process.pid, 'SIGINT'), 300)`)
    expect(ended).toMatchObject({ code: 130, out: 'heard\n' })
  })

  it('compiles and runs in a worker thread, which has an environment of its own', async () => {
    const ended = await runModule(`console.log((await (await loop(2))[3][0].read())[0], getenv('TF_CPP_MIN_LOG_LEVEL'))`, {}, true)
    expect(ended).toMatchObject({ code: 0, out: '2 2\n' })
  })
})

describe('the environment', () => {
  it('is set for C before the load, the flags of the user first', async () => {
    const ended = await runModule(`console.log(getenv('XLA_FLAGS')); console.log(getenv('TF_CPP_MIN_LOG_LEVEL'))`, {
      XLA_FLAGS: '--xla_cpu_enable_fast_math=false --xla_cpu_collective_call_terminate_timeout_seconds=99', TF_CPP_MIN_LOG_LEVEL: '1',
    })
    const [flags = '', level] = ended.out.split('\n')
    expect(flags.startsWith('--xla_cpu_enable_fast_math=false --xla_cpu_collective_call_terminate_timeout_seconds=99 --')).toBe(true)
    expect(flags.match(/terminate_timeout/g)).toHaveLength(1)
    expect(level).toBe('1')
  })

  it('asks for wide vectors only where the CPU has them', () => {
    expect(wantedFlags(['avx2'])).not.toContain('--xla_cpu_prefer_vector_width=512')
    expect(wantedFlags(['avx2', 'avx512f'])).toContain('--xla_cpu_prefer_vector_width=512')
  })

  it('leaves matrices to Eigen only on CPUs where that was measured', () => {
    const chosen = (model: string): boolean => wantedFlags(['avx512f'], model).some(f => f.startsWith('--xla_cpu_experimental_ynn_fusion_type'))
    expect([chosen('Intel(R) Xeon(R) Processor'), chosen('AMD EPYC'), chosen('')]).toEqual([true, false, false])
  })

  it('adds flags and replaces none', () => {
    expect(mergeFlags('', ['--a=1', '--b=2'])).toBe('--a=1 --b=2')
    expect(mergeFlags(' --b=3 ', ['--a=1', '--b=2'])).toBe('--b=3 --a=1')
    expect(mergeFlags('/home/me/flags.txt', ['--a=1'])).toBe('/home/me/flags.txt')
  })

  it('adds only flags that the library knows, wherever in the file they stand', async () => {
    const path = join(dir, 'library')
    const bytes = Buffer.alloc(9 << 20)
    bytes.write('xla_first', 100)
    bytes.write('xla_across_the_edge_of_a_chunk', (4 << 20) - 7)
    bytes.write('KIND', 200)
    bytes.write('xla_last', bytes.length - 8)
    await writeFile(path, bytes)
    const flags = ['--xla_last=1', '--xla_across_the_edge_of_a_chunk=2', '--xla_unknown=3', '--xla_first=4', '--xla_last=-KIND_THAT_IS_UNKNOWN', '--xla_last=-KIND']
    expect(knownFlags(path, flags)).toEqual(flags.filter((flag) => !flag.toLowerCase().includes('unknown')))
  })
})
