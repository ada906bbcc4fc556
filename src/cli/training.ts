/** What commands that train have in common: a run checked, trained or only shown, and what came of it. */
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { isPart } from '../core/configurable.ts'
import { UsageError } from '../core/errors.ts'
import { checkAddress } from '../dashboard/guard.ts'
import { anyOf, leadersFirst, openBackend } from '../engine/index.ts'
import { isLanguageModel } from '../models/index.ts'
import { checkFolder, type FolderChoice } from '../train/folder.ts'
import { meshOfRun, modelOf, type Run } from '../train/run.ts'
import { checkBeginning } from '../train/start.ts'
import { train } from '../train/train.ts'
import { Journal } from '../train/journal.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { checkRun } from './check.ts'
import { checkData } from './data-files.ts'
import { dryRun } from './dry-run.ts'
import { shellPath, shellWord } from './format.ts'
import { interrupts, type Interrupts } from './interrupt.ts'
import { joinCommand, outputOf, requireRanks, told, whereDevices, withDeviceFlags } from './job.ts'
import type { Output } from './output.ts'
import { wholeNumber, withMeshFlags } from './overrides.ts'
import { pageAddress, tokenOf } from './page-flags.ts'
import { openPage, type PageStart } from './page-thread.ts'
import { platformHelp } from './platform-flags.ts'
import { isOnHost, preparedPlugin } from './plugins.ts'
import { trainingProgress } from './progress.ts'
import { keysIn, withServeFlags, type ServeFlags } from './serve-flags.ts'

export interface TrainingFlags { readonly out?: string; readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly dryRun?: boolean; readonly json?: boolean; readonly serve?: boolean; readonly host: string; readonly port: string; readonly page?: boolean; readonly pagePort: string; readonly token?: string }

/** The flags of every command that trains. */
export const withTrainingFlags = (command: Command): Command => withServeFlags(withDeviceFlags(withMeshFlags(command)).option('--out <dir>', 'the run folder; runs/NAME-N unless given'))
  .option('--page', 'serve a page beside the run that shows it, and the runs beside it')
  .option('--page-port <n>', 'of --page: the port; any that is free unless given', '0')
  .option('--token <text>', 'of --page: what everybody who looks has to give; MESHWORK_PAGE_TOKEN shows it in no list of processes')
  .option('--dry-run', 'print what would run, and run nothing')
  .option('--json', 'print events as JSON lines')
  .addHelpText('after', platformHelp())

/** Checks a run and trains it; `recipe` is where its values come from, where that is a recipe. Sets the exit code. @throws what is wrong with run, data or folder */
export async function trainRun(run: Run, flags: TrainingFlags, { recipe, resume }: { readonly recipe?: string | undefined; readonly resume?: string | undefined } = {}): Promise<void> {
  if (run.sample.every > 0 && !writesText(run)) throw new UsageError({ code: 'no-text', what: `sample.every: ${run.name} is no model that goes on with a text, so there are no samples of it`, fix: 'leave it out: --set sample.every=0' })
  if (flags.out === '') throw new UsageError({ code: 'flag', what: '--out: the folder has no name', fix: 'for example --out runs/first' })
  const out = flags.out ?? { parent: 'runs', name: run.name }
  const processes = await joinCommand(flags.backend)
  const devices = checkRun(run, { onHost: isOnHost(flags.plugin) && processes.count === 1, setsFields: true })
  requireRanks(meshOfRun(run), flags.plugin)
  const output = outputOf(processes, flags.json === true)
  const shown = flags.page === true ? { runs: typeof out === 'string' ? dirname(resolve(out)) : out.parent, host: flags.host, port: wholeNumber(flags.pagePort, '--page-port', 0, 65535, '--page-port 0'), token: tokenOf(flags.token, process.env) } : undefined
  if (shown !== undefined) checkAddress(shown.host, shown.token)
  if (processes.rank === 0) await checkFolder(out, run)
  // Before a plugin is fetched: what is wrong with a text should not take a download to be told.
  await checkData(run)
  await checkBeginning(run, resume)
  if (flags.dryRun === true) return dryRun(run, out, flags.json === true && processes.rank === 0, output)
  const stops = interrupts()
  try {
    const plugin = await leadersFirst(processes, 'fetching the plugin', () => preparedPlugin(flags.plugin, output, stops))
    await runTraining({ run, recipe, resume, devices, out, plugin, platform: flags.platform, json: flags.json === true && processes.rank === 0, serve: flags.serve === true ? flags : undefined, page: processes.rank === 0 ? shown : undefined }, output, stops)
    process.exitCode = stops.code
  } finally {
    output.clear()
    stops.release()
  }
}

interface Job { readonly run: Run; readonly recipe: string | undefined; readonly resume: string | undefined; readonly devices: number; readonly out: FolderChoice; readonly plugin: string; readonly platform: PlatformOptions | undefined; readonly json: boolean; readonly serve: ServeFlags | undefined; readonly page: PageStart | undefined }

async function runTraining({ run, recipe, resume, devices, out, plugin, platform, json, serve, page: shown }: Job, output: Output, stops: Interrupts): Promise<void> {
  const quit = (): void => stops.quit(() => output.note('stopped before the first step: no run was written'))
  quit()
  output.status('starting')
  const page = shown === undefined ? undefined : await openPage(shown, problem => { output.note(`the page failed: ${problem}`) })
  const backend = await openBackend({ devices, plugin, ...told(platform), backend: whereDevices() }).catch(async (e: unknown) => {
    await page?.close()
    throw e
  })
  const tell = (event: object): void => { process.stdout.write(`${JSON.stringify(event)}\n`) }
  const show = json ? tell : trainingProgress(output)
  if (page !== undefined) {
    output.print(`page           ${pageAddress(page.url, shown?.token)}`)
    if (json) tell({ type: 'page', url: page.url })
  }
  // What answers, and what writes the sample, is loaded when it is wanted: it is as much as what trains.
  const beside = serve === undefined ? undefined : (await import('./train-serving.ts')).servingBeside(run, serve, { output, keys: keysIn(process.env), say: event => { if (json) tell(event) } })
  try {
    const sampling = run.sample.every > 0 ? (await import('./sampling.ts')).samplerOf : undefined
    const result = await train(run, {
      backend, out, recipe, resume, signal: stops.signal, beside: beside?.open, sampler: sampling === undefined ? undefined : session => sampling(session, stops.signal, text => { output.note(`warning: ${text}`) }),
      onEvent: event => {
        if (event.type === 'started') stops.finish(() => output.status('stopping: what is under way is finished first (Ctrl-C again to quit at once)', true))
        show(event)
      },
    })
    await beside?.close()
    if (result.folder === undefined) return output.note('stopped before the first step: no run was written')
    if (result.stopped) output.print(`stopped after ${result.steps} of ${result.planned} steps: the same command with --out ${shellPath(result.folder)} goes on`)
    // The loss is the same in all processes.
    const sound = result.evalLoss === undefined || Number.isFinite(result.evalLoss)
    const drawn = sound && writesText(run)
    if (!sound) output.note(`warning: the held-out loss is ${result.evalLoss}: from these weights no text can be drawn`)
    else if (drawn && !await anyOf(backend.processes, 'whether to stop', stops.code !== undefined || result.stopped)) {
      const { sample } = await import('./sample.ts')
      const text = await sample(run, result.folder, backend, output, stops.signal)
      const told = { type: 'sample', step: result.steps, prompt: run.sample.prompt, text } as const
      if (json) tell(told)
      if (backend.processes.rank === 0) {
        const journal = new Journal(result.folder)
        journal.add(told)
        await journal.flush()
      }
    }
    if (result.evalLoss !== undefined) output.print(`held-out loss  ${result.evalLoss.toFixed(4)}`)
    output.print(`run            ${result.folder}`)
    if (sound && isLanguageModel(modelOf(run))) output.print(`more text      npx meshwork generate ${shellPath(result.folder)} --prompt ${shellWord(run.sample.prompt)}`)
  } finally {
    await backend.close()
    await page?.close()
  }
}

/** Whether a sample can be drawn of what a run has learnt: it is a GPT that predicts text, not answers in chats, token after token. */
const writesText = ({ model, data }: Run): boolean => isPart<unknown, never>(model) && model.kind.name === 'gpt' && isPart<unknown, never>(data) && data.kind.name === 'text' && (data.config as { readonly chat?: object }).chat === undefined
  && (model.config as { readonly attention?: string }).attention === 'causal'
