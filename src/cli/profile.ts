/** `meshwork profile`: where the time of a run's training step goes, part by part, by the user's line. */
import { stat } from 'node:fs/promises'
import { Command } from 'commander'
import { UsageError } from '../core/errors.ts'
import { openBackend } from '../engine/index.ts'
import { writeFileAtomic } from '../io/atomic.ts'
import { currentJob } from '../runtime/job.ts'
import { readRunFile } from '../train/folder.ts'
import { profileRun, type Profile } from '../train/profile.ts'
import { traceOf } from '../train/profile-trace.ts'
import { meshOfRun, type Run } from '../train/run.ts'
import { checkRun } from './check.ts'
import { checkData } from './data-files.ts'
import { interrupts } from './interrupt.ts'
import { openOutput, silent } from './output.ts'
import { applyFlags, wholeNumber, withLayoutFlags, withMeshFlags, type RunFlags } from './overrides.ts'
import { told } from './job.ts'
import { platformOption } from './platform-flags.ts'
import { isOnHost, onlyCpus, preparedPlugin, withPluginFlag } from './plugins.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { drawProfile } from './profile-picture.ts'
import { loadRecipe } from './recipes.ts'
import { savedRun } from './saved-run.ts'

interface Flags extends Omit<RunFlags, 'steps'> { readonly steps: string; readonly top: string; readonly trace?: string; readonly json?: boolean; readonly plugin: string; readonly platform?: PlatformOptions }

export const profileCommand = (): Command => withPluginFlag(withLayoutFlags(withMeshFlags(new Command('profile')
  .description('Train some steps and print where their time goes: each contraction, fused loop and collective, by the line that it comes from.')
  .argument('[recipe]', 'what `meshwork train` takes, or a run folder', 'gpt-tiny')
  .option('--steps <n>', 'steps to look at', '10')))
  .option('--data <file...>', 'your own text: files, folders or patterns, tokenised once')
  .option('--set <key=value...>', 'any field of the run, such as model.layers=6 or precision.compute=bf16')
  .option('--top <n|all>', 'rows of the table by line', '30')
  .option('--trace <file>', 'write a trace, a track a device, for ui.perfetto.dev or chrome://tracing')
  .option('--json', 'print one JSON object'),
  'the runtime: cpu or one of its packages, or the path of a PJRT plugin for CPUs; auto is cpu', { fit: onlyCpus('profiling', 'parts of its programs tell no times') })
  .addOption(platformOption())
  .addHelpText('after', `
Examples:
  $ npx meshwork profile gpt-tiny --batch 2 --model 2
  $ npx meshwork profile gpt-tiny --mesh batch=1,model=1 --steps 20 --trace step.json
  $ npx meshwork profile my-recipe.ts --set model.layers=2 --json

What is measured is the compiled step itself, with a clock around each of its parts. How to read it: docs/performance.md.`)
  .action(async (name: string, flags: Flags) => {
    const steps = wholeNumber(flags.steps, '--steps', 1, 10_000)
    const top = flags.top === 'all' ? Infinity : wholeNumber(flags.top, '--top', 1)
    if (flags.trace === '') throw new UsageError({ code: 'flag', what: '--trace: the file has no name', fix: 'for example --trace step.json' })
    if (currentJob().count > 1) throw new UsageError({ code: 'flag', what: 'what runs between processes is not profiled', fix: 'leave out mpirun: the same mesh runs in one process' })
    const run = applyFlags(await runOf(name), withoutSteps(flags))
    const devices = checkRun(run, { onHost: isOnHost(flags.plugin), setsFields: true })
    await checkData(run)
    const output = flags.json === true ? silent : openOutput()
    const stops = interrupts()
    try {
      const plugin = await preparedPlugin(flags.plugin, output, stops)
      const profile = await profiled(run, { plugin, platform: flags.platform, devices, steps, signal: stops.signal, say: text => output.status(text) })
      if (flags.trace !== undefined) await writeFileAtomic(flags.trace, JSON.stringify(traceOf(profile)))
      if (flags.json === true) return void process.stdout.write(`${JSON.stringify(jsonOf(profile))}\n`)
      for (const line of drawProfile(run.name, profile, top)) output.print(line)
      if (flags.trace !== undefined) output.print(`\ntrace  ${flags.trace}`)
    } finally {
      output.clear()
      stops.release()
    }
  })

interface Work { readonly plugin: string; readonly platform: PlatformOptions | undefined; readonly devices: number; readonly steps: number; readonly signal: AbortSignal; readonly say: (text: string) => void }
async function profiled(run: Run, { plugin, platform, devices, steps, signal, say }: Work): Promise<Profile> {
  await using backend = await openBackend({ devices: Math.max(devices, meshOfRun(run).size), plugin, ...told(platform), backend: 'local' })
  return await profileRun(run, {
    backend, steps, signal,
    tell: event => {
      if (event.type === 'compiling') say(`compiling ${event.what}`)
      else if (event.type === 'preparing') say(event.what)
      else if (event.type === 'warning' || event.type === 'note') say(event.text)
    },
  })
}

/** Of a run the steps are how many it trains. */
const withoutSteps = ({ steps: _, ...flags }: Flags): RunFlags => flags

/** What was recorded is for the trace file. */
const jsonOf = ({ recorded: _, ...profile }: Profile): object => profile

/** @throws UsageError, FileError where there is neither a recipe nor a run */
async function runOf(name: string): Promise<Run> {
  const folder = await stat(name).then(s => s.isDirectory(), () => false)
  return folder && await readRunFile(name) !== undefined ? (await savedRun(name, undefined)).run : (await loadRecipe(name)).run
}
