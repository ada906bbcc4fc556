/** A server of a tiny model in a process of its own, or in several under mpirun. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { join } from 'node:path'
import { environment } from '../mpi/support.ts'
import { tinyLlama } from '../support/tiny-models.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
export interface ServerOptions { readonly folder: string; readonly plugin: string; readonly ranks: number; readonly atOnce: number; readonly queue: number; readonly mpirun?: readonly string[]; /** What is served; a tiny model that is made there unless said. */ readonly model?: string; readonly flags?: readonly string[]; readonly context?: number }
export interface Running { readonly url: string; readonly pids: () => readonly number[]; /** With what code it ends. */ readonly ended: Promise<number | null>; /** SIGTERM unless said. */ stop(signal?: NodeJS.Signals): Promise<number | null> }

/** The children of a process, and theirs. */
function family(pid: number): readonly number[] {
  let children: readonly number[] = []
  try { children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(p => p !== '').map(Number) } catch { /* it has ended */ }
  return [pid, ...children.flatMap(family)]
}

export async function startServer({ folder, plugin, ranks, atOnce, queue, mpirun = [], model = tinyLlama(join(folder, 'model')), flags = [], context = 64 }: ServerOptions): Promise<Running> {
  const serve = [process.execPath, join(root, 'bin', 'meshwork.js'), 'serve', model, '--plugin', plugin, '--port', '0', '--context', String(context), '--at-once', String(atOnce), '--queue', String(queue), '--json', ...(ranks > 1 ? ['--batch', '2', '--model', String(ranks / 2)] : []), ...flags]
  const [command, ...args] = [...ranks > 1 ? [...mpirun, '-n', String(ranks)] : [], ...serve] as [string, ...string[]]
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: environment() })
  let [out, err, ready] = ['', '', false]
  const ended = new Promise<number | null>(resolve => { child.on('close', resolve) })
  child.stderr.on('data', (d: Buffer) => { err = (err + d.toString()).slice(-4000) })
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', (d: Buffer) => {
      // What it says of requests is not kept.
      if (ready) return
      out += d.toString()
      const found = /\{[^\n]*"type":"ready"[^\n]*\}/.exec(out)?.[0]
      if (found === undefined) return
      ready = true
      resolve((JSON.parse(found) as { readonly url: string }).url)
    })
    void ended.then(code => { reject(new Error(`the server ended with ${code}: ${err}`)) })
  })
  return { url, ended, pids: () => family(child.pid ?? 0), stop(signal = 'SIGTERM') { child.kill(signal); return ended } }
}
