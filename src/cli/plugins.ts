/** `meshwork plugins`: what there is, what is installed, and where. */
import { Command } from 'commander'
import { PluginError, UsageError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import {
  builtFor, catalogName, choosePlugin, deviceProblem, type Choice, fromEnvironment, installPlugin, isPath, librarySources, listPlugins, namesWithout, pluginPath, requireFitting, resolvePlugin,
  type Installed, type LibrarySource, type Listed,
} from '../runtime/plugins/index.ts'
import { formatBytes, formatDuration, formatTable } from './format.ts'
import { interrupts, Stopped, type Interrupts } from './interrupt.ts'
import { openOutput, silent, type Output } from './output.ts'

interface Request { readonly name: string; readonly force?: boolean; readonly libraries?: LibrarySource }

interface Chosen {
  /** Whether this process tells of the choice. */
  readonly speaks?: () => boolean
  /** What the command makes of the choice, where not every plugin will do. */
  readonly fit?: (choice: Choice) => Choice
}
/** What only CPUs do. */
export const onlyCpus = (doing: string, why: string) => (choice: Choice): Choice =>
  (choice.plugin === 'cpu' ? choice : { plugin: 'cpu', note: `${doing} on the CPU, not on ${choice.plugin}: ${why}` })

/** `--plugin`, of every command that computes: `auto` is turned into what it comes to before the command begins, and said once where that is worth a word. */
export const withPluginFlag = (command: Command, about: string, { speaks = () => true, fit = choice => choice }: Chosen = {}): Command => command.option('--plugin <name|path>', about, 'auto')
  .hook('preAction', async (_, asked) => {
    if (asked.opts<{ readonly plugin: string }>().plugin !== 'auto') return
    const { plugin, note } = fit(await choosePlugin())
    asked.setOptionValue('plugin', plugin)
    if (note !== undefined && speaks()) openOutput().note(note)
  })

/** Installs a plugin with its progress shown. @throws Stopped when interrupted: nothing by half is left behind then, and libraries that came whole stay. */
async function install({ name, ...options }: Request, output: Output, stops: Interrupts): Promise<Installed> {
  stops.finish(() => output.status('stopping: what came whole is kept', true))
  let part = ''
  try {
    return await installPlugin(name, {
      ...options, signal: stops.signal,
      onPart: ({ package: library }, i, count) => { part = `  (library ${i + 1} of ${count}: ${library})` },
      onWait: holder => output.status(`another process is installing the plugin (${holder}); waiting for it`, true),
      onProgress: (done, total, rate) => {
        const left = total === undefined || rate <= 0 ? '' : `  ${formatDuration((total - done) / rate)} left`
        // The name of the library last: where a terminal is narrow, the time that is left is what is wanted.
        output.status(`fetching plugin ${name}  ${formatBytes(done)}${total === undefined ? '' : ` of ${formatBytes(total)}`}  ${formatBytes(rate)}/s${left}${part}`)
      },
    })
  } catch (e) {
    throw stops.code === undefined ? e : new Stopped(stops.code)
  } finally {
    output.clear()
  }
}

/** The plugin a command was told to use, installed first where the catalog has it and this machine not yet. @throws PluginError where there is none, or this machine cannot run it */
export async function preparedPlugin(plugin: string, output: Output, stops: Interrupts): Promise<string> {
  if (plugin === 'simulate') return plugin
  if (!isPath(plugin) && catalogName(plugin) !== undefined && fromEnvironment(plugin) === undefined) {
    if (await pluginPath(plugin) === undefined) {
      // What this machine cannot run is not worth fetching.
      requireFitting(builtFor(plugin, process))
      await install({ name: plugin }, output, stops)
    } else {
      const problems = builtFor(plugin, process).map(entry => deviceProblem(entry))
      const [first] = problems
      if (first !== undefined && problems.every(problem => problem !== undefined)) throw new PluginError(first)
    }
  }
  await resolvePlugin(plugin)
  return plugin
}

/** Whether a plugin's devices are this machine's own threads. */
export const isOnHost = (plugin: string): boolean => plugin === 'simulate' || (!isPath(plugin) && catalogName(plugin) === 'cpu' && fromEnvironment(plugin) === undefined)

/** @throws UsageError for a word that is none of the sources */
function sourceOf(word: string): LibrarySource {
  const found = librarySources.find(source => source === word)
  if (found !== undefined) return found
  throw new UsageError({ code: 'flag', what: `--libraries: there is no "${word}"`, fix: didYouMean(word, librarySources) })
}

const tries: { readonly [T in Listed['tried']]: string } = { programs: 'runs programs', loads: 'loads, not run', no: 'not run' }

/** A row of the list. */
const rowOf = (p: Listed): string[] => [
  p.name, `${p.package} ${p.version}`, formatBytes(p.bytes), p.about, p.speaks === undefined ? 'PJRT not read' : `PJRT ${p.speaks.pjrt}`, tries[p.tried], p.path ?? 'not installed',
]

export function pluginsCommand(): Command {
  const root = new Command('plugins').description('XLA\'s PJRT plugins: the runtimes that programs are compiled by.')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins install cpu')
  root.command('list').description('The catalog for this machine.').option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins list')
    .action(async ({ json }: { json?: boolean }) => {
      const plugins = await listPlugins()
      if (json === true) process.stdout.write(`${JSON.stringify(plugins, null, 2)}\n`)
      else {
        formatTable(plugins.map(rowOf), 9).forEach(line => openOutput().print(line))
        const without = namesWithout()
        if (without.length > 0) openOutput().print(`nothing for ${process.platform} ${process.arch}: ${without.join(', ')} (a library of your own: --plugin PATH; without any: --plugin simulate)`)
      }
    })
  root.command('install').description('Fetch a plugin with pip, check its SHA-256, and keep it in the user\'s cache folder.').argument('<name>', 'a name of the list, such as cpu or cuda, or a package')
    .option('--force', 'fetch again what is installed')
    .option('--libraries <from>', `a GPU's libraries: ${librarySources.join(', ')}; auto fetches what the system lacks`, 'auto')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExamples:\n  $ npx meshwork plugins install cpu\n  $ npx meshwork plugins install cuda\n  $ npx meshwork plugins install jax-cuda13-pjrt --libraries system')
    .action(async (name: string, { force = false, json, libraries: from }: { force?: boolean; json?: boolean; libraries: string }) => {
      const libraries = sourceOf(from)
      const output = json === true ? silent : openOutput()
      const stops = interrupts()
      try {
        const installed = await install({ name, force, libraries }, output, stops)
        if (json === true) process.stdout.write(`${JSON.stringify(installed, null, 2)}\n`)
        else output.print(`${installed.package} ${installed.version}: ${installed.path}`)
        const [wrong] = builtFor(installed.package, process).flatMap(entry => deviceProblem(entry) ?? [])
        if (wrong !== undefined) output.note(`on this machine it cannot be used: ${wrong.what}`)
      } finally {
        stops.release()
      }
    })
  root.command('path').description('Where an installed plugin\'s library lies.').argument('<name>', 'a name of the list, or a package')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins path cpu')
    .action(async (name: string) => {
      const path = await pluginPath(name)
      if (path === undefined) throw new PluginError({ code: 'not-installed', what: `plugin ${name} is not installed`, fix: `npx meshwork plugins install ${name}` })
      process.stdout.write(`${path}\n`)
    })
  return root
}
