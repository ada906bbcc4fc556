/** A server under load: `npm run load -- [--streams N]`. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { found } from '../mpi/support.ts'
import { load } from './clients.ts'
import { startServer } from './server.ts'

const help = `npm run load -- [options]: a server of a tiny model in a process of its own, and clients on loopback: streams that are heard to their
end and compared with the same question asked alone, one in ten that leaves midway, one in a hundred that sends what is no request.

  --streams N     how many (default 10000)
  --at-once N     how many of them at once (default 500)
  --ranks N       processes under mpirun: 1 (default), 2 or 4; batch 2 × model N/2
  --plugin NAME   cpu (default), simulate, or a PJRT plugin's path
  --seed S        what they are drawn by (default 1)
  --help

Exits with 1 where an answer is lost, doubled or another, where the server is not ready, keeps a place, or grows; with 2 for wrong options.

Examples:
  npm run load -- --streams 10000 --at-once 500
  npm run load -- --streams 1000 --ranks 4
`
const { values } = parseArgs({ options: { streams: { type: 'string', default: '10000' }, 'at-once': { type: 'string', default: '500' }, ranks: { type: 'string', default: '1' }, plugin: { type: 'string', default: 'cpu' }, seed: { type: 'string', default: '1' }, help: { type: 'boolean', default: false } } })
if (values.help) {
  process.stdout.write(help)
  process.exit(0)
}
const [streams, atOnce, ranks, seed] = [values.streams, values['at-once'], values.ranks, values.seed].map(Number) as [number, number, number, number]
if (![streams, atOnce, ranks].every(n => Number.isSafeInteger(n) && n >= 1) || ![1, 2, 4].includes(ranks) || !Number.isSafeInteger(seed)) {
  process.stderr.write('--streams, --at-once and --seed are whole numbers, --ranks is 1, 2 or 4\n  see npm run load -- --help\n')
  process.exit(2)
}
const mpi = found[0]
if (ranks > 1 && mpi === undefined) {
  process.stderr.write('--ranks: there is no mpirun and mpicc: apt-get install openmpi-bin libopenmpi-dev\n')
  process.exit(2)
}

const folder = mkdtempSync(join(tmpdir(), 'meshwork-load-'))
const stop = new AbortController()
process.once('SIGINT', () => { stop.abort() })
const server = await startServer({ folder, plugin: values.plugin, ranks, atOnce: 64, queue: 4096, ...(mpi === undefined ? {} : { mpirun: [mpi.mpirun] }) })
try {
  let said = 0
  const began = performance.now()
  const report = await load({
    url: server.url, model: 'model', streams, atOnce, seed, pids: server.pids(), signal: stop.signal,
    onProgress(done) {
      const now = (performance.now() - began) / 1000
      if (!process.stderr.isTTY && now - said < 10) return
      said = now
      const line = `${done} of ${streams} streams  ${(done / now).toFixed(0)} a second  ${((streams - done) * now / done).toFixed(0)} s left`
      process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
    },
  })
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  const { whole, left, hostile, wrong, ready, notReady, memory: [early, late], seconds, firstToken: [median, p95], tokensPerSecond } = report
  process.stdout.write(`${whole} heard to their end, ${left} left midway, ${hostile} hostile, in ${seconds.toFixed(0)} s: ${tokensPerSecond.toFixed(0)} tokens/s, first token ${(1000 * median).toFixed(0)} ms (p95 ${(1000 * p95).toFixed(0)} ms)\n`)
  process.stdout.write(`memory ${early.toFixed(0)} MiB after a tenth, ${late.toFixed(0)} MiB at the end; ready ${ready} times of ${ready + notReady}\n`)
  for (const line of wrong) process.stdout.write(`wrong: ${line}\n`)
  const grown = late > 1.2 * early + 64
  if (grown) process.stdout.write('wrong: memory has grown\n')
  process.exitCode = stop.signal.aborted ? 130 : wrong.length > 0 || notReady > 0 || grown ? 1 : 0
} finally {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
}
