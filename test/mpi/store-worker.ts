/** What the test of clients that span the ranks runs on each, built. Rank 0 prints what each rank heard, and how its programs are written, as one line of JSON. */
import { compile, dim, input, mesh, openBackend } from '../../src/engine/index.ts'
import { currentJob, joinJob } from '../../src/runtime/job.ts'
import { fakeOf } from '../runtime/fake-plugin.ts'

const processes = await joinJob('mpi')
Object.assign(process.env, { FAKE_RANK: String(processes.rank), FAKE_COUNT: String(processes.count) })
const library = process.env['FAKE_PLUGIN'] ?? ''
const backend = await openBackend({ plugin: library, devices: processes.count, cache: false, platform: { deterministic: true } })
const fake = fakeOf(library)
const batch = dim('batch', 8)
const program = await compile(x => x.sum(), [input('x', [batch])] as const, { mesh: mesh({ batch: processes.count }), layout: { batch: 'batch' }, backend })
const written = {
  options: fake.options(), devices: backend.deviceCount, here: backend.addressable, as: backend.devicesAs, platform: backend.lowering.platform,
  collective: /"(stablehlo\.all_reduce|stablehlo\.custom_call)"/.exec(program.text)?.[1], groups: /dense<(\[\[.*?\]\])>/.exec(program.text)?.[1], compiled: Buffer.from(fake.compileOptions()).toString('hex'),
}
program.dispose()
const heard = await currentJob().exchange(new TextEncoder().encode(JSON.stringify(written)), 'what was heard')
await backend.close()
if (processes.rank === 0) process.stdout.write(`[${heard.map(bytes => new TextDecoder().decode(bytes)).join()}]\n`)
