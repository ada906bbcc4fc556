/** `meshwork serve`: a model behind OpenAI's API, many answers at once. */
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { leadersFirst, openBackend } from '../engine/index.ts'
import { led, Turns } from '../serve/turns.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { openServer } from '../server/index.ts'
import { meshOfRun } from '../train/run.ts'
import { formatDuration, formatInteger } from './format.ts'
import { interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, told, whereDevices, withDeviceFlags } from './job.ts'
import { wholeNumber, withMeshFlags } from './overrides.ts'
import { preparedPlugin } from './plugins.ts'
import { keysIn } from './serve-flags.ts'
import type { AdapterFlags } from './served-adapters.ts'
import { closedModel, requireTogether, type ClosedModel, type OpenModel } from './served-models.ts'
import { withWritingFlags, type WrittenFlags } from './written-model.ts'

interface Flags extends WrittenFlags, AdapterFlags {
  readonly host: string; readonly port: string; readonly name?: string; readonly atOnce: string; readonly queue: string; readonly drain: string; readonly deadline: string; readonly watch?: boolean; readonly allowAnonymous?: boolean; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly json?: boolean
}

export const serveCommand = (): Command => withDeviceFlags(withMeshFlags(withWritingFlags(new Command('serve')
  .description('Answer over HTTP as OpenAI\'s API has it: chats and completions, streamed or whole, many at once, the model split over the mesh.')
  .argument('<models...>', 'runs\' folders, some in Hugging Face\'s layout, or .gguf files; clients choose by name')
  .option('--host <address>', 'what is listened on; beyond this machine it wants keys, in MESHWORK_API_KEYS, separated by ","', '127.0.0.1')
  .option('--port <n>', 'the port; 0 for any that is free', '8000')
  .option('--name <name>', 'what clients call the model, where there is one; its folder\'s name unless given')
  .option('--adapter <name=dir...>', 'adapters of low rank that clients choose by name as a model of their own')
  .option('--adapter-root <dir>', 'lets clients have others loaded from folders under this one: POST /v1/load_lora_adapter')
  .option('--adapter-slots <n>', 'adapters that there is room for at once')
  .option('--adapter-rank <n>', 'their rank at most')
  .option('--at-once <n>', 'answers that each group of devices writes at once', '8')
  .option('--queue <n>', 'requests that may wait for that; more are told to come again', '256')
  .option('--context <n>', 'tokens of a prompt and its answer; 4096, or what the model is made for, unless given')
  .option('--watch', 'of runs: take each new checkpoint between two steps, without losing a request')
  .option('--deadline <seconds>', 'how long an answer may take, its waiting counted; 0 for any time', '600')
  .option('--drain <seconds>', 'how long answers that are being written may take once it is to end', '30')
  .option('--allow-anonymous', 'let anybody ask who reaches an address beyond this machine'))))
  .option('--json', 'print what happens as lines of JSON')
  .addHelpText('after', `
Examples:
  $ npx meshwork serve models/smollm2
  $ npx meshwork serve model.Q8_0.gguf --port 8080 --name smollm2 --model 2
  $ npx meshwork serve models/smollm2 models/minilm
  $ npx meshwork serve models/smollm2 --adapter kind=runs/kind rude=runs/rude
  $ mpirun -n 4 npx meshwork serve models/smollm2 --batch 2 --model 2

Ctrl-C (SIGTERM) takes nothing new, finishes what is being written, and ends; a second one ends at once. SIGUSR2 does the same, with exit code 0: Open MPI's mpirun hands it on to its job, and waits.`)
  .action(async (folders: readonly string[], flags: Flags) => {
    const processes = await joinCommand(flags.backend)
    const [port, atOnce, waiting, drain] = [wholeNumber(flags.port, '--port', 0, 65535), wholeNumber(flags.atOnce, '--at-once', 1, 1024), wholeNumber(flags.queue, '--queue', 0), wholeNumber(flags.drain, '--drain', 0, 86400)]
    const deadline = wholeNumber(flags.deadline, '--deadline', 0, 86400)
    if (flags.name !== undefined && folders.length > 1) throw new UsageError({ code: 'name', what: `--name "${flags.name}" names one model, and there are ${folders.length}`, fix: 'leave it out: each is called as its folder' })
    const closed: ClosedModel[] = []
    if ((flags.adapter !== undefined || flags.adapterRoot !== undefined) && folders.length > 1) throw new UsageError({ code: 'adapter', what: '--adapter: there are several models, and adapters are of one', fix: 'serve the others by themselves' })
    for (const folder of folders) closed.push(await closedModel(folder, flags, flags.name))
    requireTogether(closed)
    if (flags.watch === true && !closed.some(m => m.ofRun)) throw new UsageError({ code: 'watch', what: '--watch: none of the models is a run, so none will have newer weights', fix: 'leave it out, or give the folder of a run' })
    const [{ run, devices }] = closed as [ClosedModel]
    requireRanks(meshOfRun(run), flags.plugin)
    const json = flags.json === true
    const output = outputOf(processes, json)
    const say = (event: { readonly event?: string; readonly error?: string; readonly [field: string]: unknown }): void => {
      if (processes.rank !== 0) return
      if (json) process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`)
      else if (event.event === 'failed') output.note(`a request failed: ${event.error ?? ''}`)
    }
    const stops = interrupts({ ends: true })
    try {
      const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
      stops.quit(() => output.clear())
      output.status('starting')
      const backend = await openBackend({ devices, plugin, ...told(flags.platform), backend: whereDevices() })
      try {
        const turns = new Turns(processes)
        const began = performance.now()
        const models: OpenModel[] = []
        for (const model of closed) models.push(await model.open(backend, { requests: atOnce, queue: { requests: waiting, tokens: Infinity }, turns }, (done, all) => { output.status(`${model.name}: compiling ${done} of ${all}  ${formatDuration((performance.now() - began) / 1000 * (all - done) / done)} left`) }))
        // Launchers tell all processes, and the first one needs the others until it has finished.
        if (processes.rank !== 0) stops.finish()
        await led(turns, processes, async () => {
          for (const model of models) await model.begin?.()
          const server = await openServer({ models: models.map(m => m.served), host: flags.host, port, keys: keysIn(process.env), anonymous: flags.allowAnonymous === true, deadline: deadline === 0 ? undefined : 1000 * deadline, log: say })
          stops.finish()
          output.clear()
          for (const { served: { name }, facts } of models) output.print(`${name} answers at ${server.url}/v1  (${Object.entries(facts).map(([fact, n]) => `${fact.replaceAll('_', ' ')} ${formatInteger(n)}`).join(', ')})`)
          output.print(`a page is at ${server.url}`)
          say({ type: 'ready', url: server.url, model: models[0]?.served.name, models: models.map(({ served: { name }, facts }) => ({ name, ...facts })), ...models[0]?.facts })
          const watched = flags.watch === true ? models.flatMap(m => m.watch?.(say) ?? []) : []
          await new Promise<void>(resolve => { if (stops.signal.aborted) resolve(); else stops.signal.addEventListener('abort', () => { resolve() }, { once: true }) })
          for (const w of watched) w.stop()
          output.note('ending: what is being written is finished')
          await server.drain(1000 * drain)
        })
        for (const model of models) await model.close()
      } finally {
        await backend.close()
      }
      process.exitCode = stops.code
    } finally {
      output.clear()
      stops.release()
    }
  })
