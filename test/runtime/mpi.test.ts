/** What MPI is known by, and what processes tell each other: without MPI. */
import { describe, expect, test } from 'vitest'
import { launchOf } from '../../src/runtime/mpi/environment.ts'
import { anyOf, fromFirst, JobError, leadersFirst, queue, requireSame, type Processes } from '../../src/runtime/processes.ts'

describe('launchOf', () => {
  test.each<[string, Record<string, string>, object | undefined]>([
    ['nothing', { PATH: '/bin' }, undefined],
    ['Open MPI', { OMPI_COMM_WORLD_RANK: '3', OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_RANK: '1' }, { flavour: 'Open MPI', rank: 3, size: 4, onHost: 1 }],
    ['MPICH', { PMI_RANK: '0', PMI_SIZE: '2', MPI_LOCALRANKID: '0' }, { flavour: 'MPICH', rank: 0, size: 2, onHost: 0 }],
    ['Open MPI inside of a Slurm step', { OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '2', SLURM_STEP_ID: '0', SLURM_STEP_NUM_TASKS: '2' }, { flavour: 'Open MPI', rank: 1 }],
    ['srun --mpi=pmi2', { PMI_RANK: '5', PMI_SIZE: '8', SLURM_STEP_ID: '0', SLURM_LOCALID: '1' }, { flavour: undefined, rank: 5, size: 8, onHost: 1 }],
    ['srun --mpi=pmix', { PMIX_RANK: '2', SLURM_STEP_ID: '0', SLURM_STEP_NUM_TASKS: '4' }, { flavour: undefined, rank: 2, size: 4 }],
    ['PMIx alone', { PMIX_RANK: '1' }, { rank: 1, size: undefined }],
    ['a batch script that starts no ranks', { SLURM_JOB_ID: '7', SLURM_NTASKS: '4', SLURM_PROCID: '0' }, undefined],
    ['one task of srun', { SLURM_STEP_NUM_TASKS: '1', SLURM_STEP_ID: '0' }, undefined],
    ['a rank that is no number', { OMPI_COMM_WORLD_RANK: 'x' }, undefined],
  ])('%s', (_, env, expected) => {
    if (expected === undefined) expect(launchOf(env)).toBeUndefined()
    else expect(launchOf(env)).toMatchObject(expected)
  })

  test('several tasks that cannot find each other', () => {
    expect(() => launchOf({ SLURM_STEP_NUM_TASKS: '4', SLURM_STEP_ID: '0' })).toThrow(/srun-without-mpi[^]*--mpi=pmix/)
  })
})

/** Processes in this one: an exchange ends when all have come to it. */
function pretend(hosts: readonly string[]): Processes[] {
  const rounds: { readonly given: Map<number, Uint8Array>; readonly resolve: ((all: readonly Uint8Array[]) => void)[] }[] = []
  return hosts.map((_, rank): Processes => {
    let round = 0
    return {
      rank, count: hosts.length, hosts, description: 'pretend', fail: () => Promise.resolve(true), end: () => Promise.resolve(), abort: () => undefined, inTurn: work => work(),
      async exchange(bytes) {
        const mine = round++
        const given = await bytes
        const at = rounds[mine] ??= { given: new Map(), resolve: [] }
        at.given.set(rank, given)
        const all = new Promise<readonly Uint8Array[]>(resolve => { at.resolve.push(resolve) })
        if (at.given.size === hosts.length) for (const r of at.resolve) r(hosts.map((_h, i) => at.given.get(i) ?? new Uint8Array()))
        return all
      },
    }
  })
}

describe('what processes do together', () => {
  const job = (): Processes[] => pretend(['a', 'a', 'b', 'b'])

  test('the first of each host works before the others', async () => {
    const order: string[] = []
    await Promise.all(job().map(p => leadersFirst(p, 'test', async () => {
      order.push(`begin ${p.rank}`)
      await new Promise(resolve => { setImmediate(resolve) })
      order.push(`end ${p.rank}`)
    })))
    const lastLeader = Math.max(order.indexOf('end 0'), order.indexOf('end 2'))
    expect(Math.min(order.indexOf('begin 1'), order.indexOf('begin 3'))).toBeGreaterThan(lastLeader)
  })

  test('rank 0 decides for all, and is the only one asked', async () => {
    const asked: number[] = []
    const answers = await Promise.all(job().map(p => fromFirst(p, 'test', () => { asked.push(p.rank); return { from: p.rank } })))
    expect(answers).toEqual(Array.from({ length: 4 }, () => ({ from: 0 })))
    expect(asked).toEqual([0])
  })

  test.each([[[false, false, false, false], false], [[false, false, true, false], true]])('any of %j is %s', async (flags, any) => {
    expect(await Promise.all(job().map((p, i) => anyOf(p, 'test', flags[i] === true)))).toEqual(flags.map(() => any))
  })

  test('a rank that differs is named, with both values, in all ranks', async () => {
    const results = await Promise.allSettled(job().map(p => requireSame(p, 'test', { version: '1', seed: p.rank === 2 ? '9' : '4' }, 'mend it')))
    for (const r of results) {
      expect(r.status).toBe('rejected')
      const { reason } = r as PromiseRejectedResult
      expect(reason).toBeInstanceOf(JobError)
      expect(String(reason)).toMatch(/rank 2 \(host b\) differs from rank 0 in seed\n +rank 0 +4\n +rank 2 +9\n +fix +mend it/)
    }
    await expect(Promise.all(job().map(p => requireSame(p, 'test', { version: '1' }, '')))).resolves.toBeDefined()
  })

  test('a queue keeps the order of the calls, and goes on after a failure', async () => {
    const inTurn = queue()
    const order: number[] = []
    const slow = inTurn(async () => { await new Promise(resolve => { setImmediate(resolve) }); order.push(1) })
    const failing = inTurn(() => Promise.reject(new Error('no')))
    const fast = inTurn(() => { order.push(2); return Promise.resolve() })
    await expect(failing).rejects.toThrow('no')
    await Promise.all([slow, fast])
    expect(order).toEqual([1, 2])
  })
})
