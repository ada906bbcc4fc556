/** `meshwork serve` as a process of its own, for judges that speak with it over HTTP. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const bin = fileURLToPath(new URL('../../bin/meshwork.js', import.meta.url))

export interface ServedProcess extends AsyncDisposable { readonly url: string; readonly model: string; /** All of them, as they were given. */ readonly models: readonly string[] }

/** Ready when it is returned, and ended when it is disposed of. @throws Error with what it said where it does not become ready */
export async function serveModel(models: readonly string[], args: readonly string[] = []): Promise<ServedProcess> {
  const child = spawn(process.execPath, [bin, 'serve', ...models, '--port', '0', '--json', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const said: string[] = []
  createInterface(child.stderr).on('line', line => { said.push(line) })
  const ended = new Promise<number | null>(resolve => child.once('exit', resolve))
  const ready = new Promise<Pick<ServedProcess, 'url' | 'models'>>((resolve, reject) => {
    createInterface(child.stdout).on('line', line => {
      const event = JSON.parse(line) as { readonly type?: string; readonly url?: string; readonly models?: readonly { readonly name: string }[] }
      if (event.type === 'ready') resolve({ url: event.url ?? '', models: event.models?.map(m => m.name) ?? [] })
    })
    void ended.then(code => { reject(new Error(`meshwork serve ended with ${code ?? 'a signal'}: ${said.slice(-5).join(' ')}`)) })
  })
  const { url, models: names } = await ready
  return {
    url, model: names[0] ?? '', models: names,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
