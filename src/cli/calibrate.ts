/** `meshwork calibrate`: measures this machine, or under mpirun this cluster, for `meshwork plan --machine here`. */
import { Command } from 'commander'
import { calibrate } from '../calibrate/calibrate.ts'
import { keepMachine } from '../calibrate/kept.ts'
import { openBackend, type Backend } from '../engine/index.ts'
import { machineOf } from '../machine/read.ts'
import type { MachineInput } from '../machine/machine.ts'
import { isParallel } from '../runtime/job.ts'
import { formatDuration, formatTable } from './format.ts'
import { interrupts, Stopped } from './interrupt.ts'
import { joinCommand, outputOf, told, withDeviceFlags } from './job.ts'
import { wholeNumber } from './overrides.ts'
import { openOutput } from './output.ts'
import type { PlatformOptions } from '../runtime/pjrt/platform-options.ts'
import { preparedPlugin } from './plugins.ts'

interface Flags { readonly plugin: string; readonly platform?: PlatformOptions; readonly backend?: string; readonly devices: string; readonly quick?: boolean; readonly replace?: boolean; readonly json?: boolean }

const perSecond = (n: number, unit: string): string => (n >= 1e12 ? `${(n / 1e12).toPrecision(3)} T${unit}/s` : `${(n / 1e9).toPrecision(3)} G${unit}/s`)

/** What was found, a line a figure. */
function drawMachine(m: MachineInput): string[] {
  const rows = [{ devices: 1, ...m }, ...m.crowded ?? []].map(f => [
    String(f.devices), ...(['f32', 'bf16'] as const).map(d => perSecond(Math.max(0, ...(f.products[d] ?? []).flatMap(r => r.points.map(([, rate]) => rate))), 'FLOP')),
    perSecond(f.bandwidth.points.at(-1)?.[1] ?? 0, 'B'), `${(f.overhead?.kernelUs ?? 0).toFixed(1)} µs`, `${(f.overhead?.turnUs ?? 0).toFixed(1)} µs`, `${(f.overhead?.stepUs ?? 0).toFixed(0)} µs`,
  ])
  const links = [['collective', 'among', 'of devices', 'least', 'largest'], ...Object.entries(m.links.within.times ?? {}).flatMap(([kind, times]) => (times ?? []).map(t => {
    const [few, many] = [t.points[0], t.points.at(-1)]
    return [kind, String(t.among), String(t.onHost ?? t.among), `${(few?.[1] ?? 0).toFixed(0)} µs`, `${((many?.[1] ?? 0) / 1000).toFixed(1)} ms for ${((many?.[0] ?? 0) / 1e6).toFixed(1)} MB`]
  }))]
  return ['each of so many devices at once', ...formatTable([['devices', 'f32', 'bf16', 'memory', 'a kernel', 'a turn', 'a step'], ...rows]).map(l => `  ${l}`), '', 'collectives', ...formatTable(links).map(l => `  ${l}`)]
}

export const calibrateCommand = (): Command => withDeviceFlags(new Command('calibrate')
  .description('Measure what this machine, or under mpirun this cluster, can do, in a few minutes: `meshwork plan --machine here` then says what a step takes.'))
  .option('--devices <n>', 'the most devices of this machine that share it; ranks are as many as there are', '4')
  .option('--quick', 'fewer sizes, each once: rough, and kept only where no full calibration is')
  .option('--replace', 'keep what --quick has measured in the place of a full calibration')
  .option('--json', 'print the machine file')
  .addHelpText('after', `
Examples:
  $ npx meshwork calibrate
  $ npx meshwork calibrate --json > cluster.json
  $ mpirun -n 4 npx meshwork calibrate

What is measured is kept in the cache: plan --machine here, and --machine ranks for what mpirun measured.`)
  .action(async ({ plugin, platform, backend: choice, devices, quick = false, replace = false, json = false }: Flags) => {
    const most = wholeNumber(devices, '--devices', 1, 64)
    const processes = await joinCommand(choice)
    const output = outputOf(processes, false)
    const stops = interrupts()
    try {
      await preparedPlugin(plugin, output, stops)
      const open = (asked: number | undefined): Promise<Backend> => openBackend({ plugin, ...told(platform), cache: false, ...asked === undefined ? {} : { devices: asked }, ...choice === undefined ? {} : { backend: choice as 'mpi' } })
      stops.finish(() => output.status('stopping', true))
      const name = isParallel() ? 'ranks' : 'here'
      const begun = performance.now()
      const found = await calibrate({ open, devices: isParallel() ? undefined : most, name, quick, signal: stops.signal, onProgress: (what, done) => output.status(`calibrating  ${(100 * done).toFixed(0).padStart(3)} %  ${what}${done < 0.05 ? '' : `  ${formatDuration((performance.now() - begun) / 1000 * (1 - done) / done)} left`}`) })
      output.clear()
      if (processes.rank !== 0) return
      machineOf(found, 'what was measured')
      const { path, kept } = await keepMachine(found, replace)
      if (json) openOutput().print(JSON.stringify(found, null, 1))
      else for (const line of [...drawMachine(found), '', ...kept ? [`kept in ${path}: meshwork plan --machine ${name}`] : []]) output.print(line)
      if (!kept) output.note(`not kept: --machine ${name} stays the full calibration in ${path}; add --replace to keep this quick one in its place`)
    } catch (e) {
      throw stops.code === undefined ? e : new Stopped(stops.code)
    } finally {
      output.clear()
      stops.release()
    }
  })
