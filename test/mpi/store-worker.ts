/** What the test of the key-value store runs on every rank: `node --import tsx store-worker.ts`. Rank 0 prints what each rank heard, as one line of JSON. */
import { joinJob, nativeParts } from '../../src/runtime/job.ts'
import { openPjrt } from '../../src/runtime/pjrt/index.ts'
import { fakeOf } from '../runtime/fake-plugin.ts'

const processes = await joinJob('mpi')
Object.assign(process.env, { FAKE_RANK: String(processes.rank), FAKE_COUNT: String(processes.count) })
const library = process.env['FAKE_PLUGIN'] ?? ''
const backend = await openPjrt({ library, devices: 1, node: { id: processes.rank, count: processes.count }, store: nativeParts()?.store, inTurn: work => processes.inTurn(work) })
const heard = await processes.exchange(new TextEncoder().encode(fakeOf(library).options()), 'what was heard')
await backend.close()
if (processes.rank === 0) process.stdout.write(`${JSON.stringify(heard.map(bytes => new TextDecoder().decode(bytes)))}\n`)
