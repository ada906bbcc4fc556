/** From the shell to the first step, with nothing cached and with everything; and what the host costs each step. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, row, type Row } from '../measure.ts'

interface Part { readonly notes: readonly string[]; readonly rows: readonly Row[] }
const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))

/** Milliseconds until a command prints a line that `ends`; then it is ended. Its output is JSON lines. */
function until(args: readonly string[], env: NodeJS.ProcessEnv, ends: (event: { readonly type?: string }) => boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(process.execPath, [bin, ...args], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] })
    let [text, at] = ['', 0]
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) if (at === 0 && line.startsWith('{') && ends(JSON.parse(line) as { readonly type?: string })) { at = performance.now(); child.kill('SIGKILL') }
    })
    child.on('error', reject)
    child.on('close', () => { if (at > 0) resolve(at - start); else reject(new Error(`meshwork ${args.join(' ')} ended before what was waited for`)) })
  })
}

export async function starts(rounds: number, say: (line: string) => void): Promise<Part> {
  const folder = await mkdtemp(join(tmpdir(), 'meshwork-bench-'))
  try {
    const args = (run: string): string[] => ['train', 'gpt-tiny', '--json', '--out', join(folder, run)]
    const first = async (run: string): Promise<number> => until(args(run), {}, e => e.type === 'step')
    // Once, so that plugin, text and programs are there.
    await first('warm')
    const times: number[] = []
    for (let i = 0; i < rounds; i++) {
      times.push(await first(`cached-${i}`))
      say(`cached start ${i + 1} of ${rounds}: ${(times.at(-1) ?? 0).toFixed(0)} ms`)
    }
    return { notes: [], rows: [row('npm start, cached, to the first step', median(times), 'ms', 1500)] }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Event { readonly type?: string; readonly tracedMs?: number; readonly hostMs?: number }
/** By the profile of a model so small that the host shows: what passes before the first part runs and after the last, on each device. */
export async function hostCost(rounds: number, say: (line: string) => void): Promise<Part> {
  const rows: Row[] = []
  for (const [batch, model] of [[1, 1], [2, 2]] as const) {
    const times: number[] = []
    for (let i = 0; i < rounds; i++) {
      times.push(await new Promise<number>((resolve, reject) => {
        const small = ['--set', 'model.layers=2', 'model.embed=32', 'model.heads=2', 'model.headDim=16', 'model.hidden=128', 'model.vocab=512', 'model.seq=32', 'batch=4']
        const child = spawn(process.execPath, [bin, 'profile', 'gpt-tiny', '--batch', String(batch), '--model', String(model), '--steps', '200', '--json', ...small], { stdio: ['ignore', 'pipe', 'inherit'] })
        let text = ''
        child.stdout.on('data', (chunk: Buffer) => { text += chunk.toString() })
        child.on('error', reject)
        child.on('close', () => { const { hostMs } = JSON.parse(text) as Event; if (hostMs === undefined) reject(new Error('the profile says nothing of the host')); else resolve(hostMs) })
      }))
      say(`host, ${batch}×${model}: ${(times.at(-1) ?? 0).toFixed(2)} ms a step`)
    }
    rows.push(row(`host, a step of a tiny model, ${batch}×${model}`, median(times), 'ms', batch * model === 4 ? 0.5 : undefined))
  }
  return { notes: [], rows }
}
