/** A server on several processes: it answers as one does, with adapters and the newest weights of a run too, and ends when it is told to; a rank that is killed under load ends the job, not in silence; the same command starts again. */
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { startServer, type Running } from '../load/server.ts'
import { small, run, text } from '../cli/support.ts'
import { all } from '../support/depth.ts'
import { tinyAdapters, tinyLlama } from '../support/tiny-models.ts'
import { flavours, takes } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'meshwork-served-ranks-'))
afterAll(() => { rmSync(folder, { recursive: true, force: true }) })
const ask = async ({ url }: Running, more: object = {}): Promise<string> => {
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model: 'model', prompt: 'the people', max_tokens: 12, temperature: 0, ignore_eos: true, ...more }) })
  return ((await response.json()) as { readonly choices: readonly { readonly text: string }[] }).choices[0]?.text ?? ''
}
/** The process that is a rank of the job. */
const rankOf = ({ pids }: Running, rank: number): number | undefined => pids().find(pid => { try { return new RegExp(`(^|\\0)(OMPI_COMM_WORLD_RANK|PMI_RANK)=${rank}\\0`).test(readFileSync(`/proc/${pid}/environ`, 'utf8')) } catch { return false } })

describe.each(flavours)('$name', ({ mpi, missing }) => {
  test('answers on two ranks, and ends where one is killed', async ({ skip }) => {
    if (mpi === undefined || !takes(mpi, 0)) return skip(mpi === undefined ? missing : 'tried under the other MPI; npm run test:deep tries both')
    const options = { folder: join(folder, mpi.name), plugin: 'cpu', atOnce: 4, queue: 64 }
    const alone = await startServer({ ...options, ranks: 1 })
    const wanted = await ask(alone)
    expect(await alone.stop()).toBe(143)
    const start = (): Promise<Running> => startServer({ ...options, ranks: 2, mpirun: [mpi.mpirun] })
    const job = await start()
    expect(await ask(job)).toBe(wanted)
    // Streams that take longer than it takes to kill a rank.
    const streams = Array.from({ length: 6 }, () => ask(job, { max_tokens: 40, temperature: 1 }).then(() => 'whole', () => 'broken'))
    const rank = rankOf(job, 1)
    expect(rank).toBeGreaterThan(0)
    process.kill(rank ?? 0, 'SIGKILL')
    expect(await job.ended).not.toBe(0)
    // Nobody waits for ever: what was not answered by then is an error to its client.
    for (const s of await Promise.all(streams)) expect(['whole', 'broken']).toContain(s)
    await expect(ask(job)).rejects.toThrow()
    const again = await start()
    expect(await ask(again)).toBe(wanted)
    // What is written when it is told to end is finished. Open MPI ends a job that SIGTERM comes for with a failure, and hands SIGUSR2 on.
    // MPICH hands SIGTERM on, and 4.0 at times takes the codes of ranks that ended by it for 0 (its pull request 5930 mends it).
    const last = ask(again, { max_tokens: 40 })
    await ask(again)
    expect(mpi.name === 'Open MPI' ? [0] : [0, 143]).toContain(await again.stop(mpi.name === 'Open MPI' ? 'SIGUSR2' : 'SIGTERM'))
    expect((await last).length).toBeGreaterThan(0)
  })

  test('takes adapters that clients name', async ({ skip }) => {
    if (mpi === undefined || !takes(mpi, 1)) return skip(mpi === undefined ? missing : 'tried under the other MPI; npm run test:deep tries both')
    const at = (...names: readonly string[]): string => join(folder, mpi.name, ...names)
    const options = { folder: join(folder, mpi.name), plugin: 'cpu', atOnce: 2, queue: 8 }
    const model = tinyLlama(at('model'))
    for (const [name, seed] of [['kind', 9], ['rude', 10]] as const) tinyAdapters(at('adapters', name), model, { seed })
    const job = await startServer({ ...options, ranks: 2, mpirun: [mpi.mpirun], model, flags: ['--adapter-root', at('adapters')] })
    const before = await ask(job)
    const load = (name: string): Promise<Response> => fetch(`${job.url}/v1/load_lora_adapter`, { method: 'POST', body: JSON.stringify({ lora_name: name, lora_path: at('adapters', name) }) })
    for (const name of ['kind', 'missing', 'rude']) expect([name, (await load(name)).status]).toEqual([name, name === 'missing' ? 400 : 200])
    // All at once: each has its own, and the others have nothing of it.
    const texts = await Promise.all(['kind', 'rude', 'model', 'kind'].map(name => ask(job, { model: name })))
    expect([new Set(texts).size, texts[2], texts[3]]).toEqual([3, before, texts[0]])
    await job.stop()
  })

  test('takes the weights of a run as they come', async ({ skip }) => {
    if (mpi === undefined || !all) return skip(mpi === undefined ? missing : 'npm run test:deep tries it')
    const at = (...names: readonly string[]): string => join(folder, mpi.name, ...names)
    const options = { folder: join(folder, mpi.name), plugin: 'cpu', atOnce: 2, queue: 8 }
    mkdirSync(at(), { recursive: true })
    writeFileSync(at('text.txt'), text)
    const { code, err } = await run(['train', 'gpt-tiny', '--plugin', 'simulate', ...small, '--data', 'text.txt', '--out', 'run', '--steps', '8', '--set', 'checkpoint.every=4', '--json'], { cwd: at(), env: {} })
    expect({ code, err }).toEqual({ code: 0, err: '' })
    // As it was behind its fourth step.
    for (const later of ['model.safetensors', 'summary.json']) rmSync(at('run', later))
    renameSync(at('run', 'checkpoints', 'step-8'), at('later'))
    const job = await startServer({ ...options, ranks: 2, mpirun: [mpi.mpirun], model: at('run'), context: 16, flags: ['--watch'] })
    const stepOf = async (): Promise<number> => ((await (await fetch(`${job.url}/v1/completions`, { method: 'POST', body: JSON.stringify({ model: 'run', prompt: 'the', max_tokens: 3, temperature: 0, ignore_eos: true }) })).json()) as { readonly training_step: number }).training_step
    expect(await stepOf()).toBe(4)
    renameSync(at('later'), at('run', 'checkpoints', 'step-8'))
    let step = 4
    while (step === 4) step = await stepOf()
    expect(step).toBe(8)
    await job.stop()
  })
})
