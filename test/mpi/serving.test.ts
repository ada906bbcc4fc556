/** A server on several processes: it answers as one does, and a rank that is killed under load ends the job, not in silence; the same command starts again. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { startServer, type Running } from '../load/server.ts'
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
    await again.stop()
  })
})
