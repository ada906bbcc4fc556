/** A prediction as text: the time of a step and whose it is, memory beside what there is, utilisation, what tokens cost. */
import type { Forecast } from '../train/forecast.ts'
import { formatBytes, formatInteger, formatMs, formatTable } from './format.ts'

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
export const dollars = (n: number): string => `$${n >= 1000 ? formatInteger(n) : n.toPrecision(3)}`

/** `skipsBlocks`: whether blocks of attention that are masked whole do not count as operations of the model. */
export function drawForecast(f: Forecast, skipsBlocks: boolean): string[] {
  const share = (ms: number): string => percent(f.stepMs === 0 ? 0 : ms / f.stepMs)
  const hidden = f.collectiveMs - f.waitedMs
  const time = [
    ['products', formatMs(f.productMs), share(f.productMs)], ['memory', formatMs(f.memoryMs), share(f.memoryMs)], ['collectives, waited for', formatMs(f.waitedMs), share(f.waitedMs)],
    ...(hidden > 0 ? [['collectives, beside', formatMs(hidden), '']] : []), ['loops and the host', formatMs(f.overheadMs), share(f.overheadMs)], ['a step', formatMs(f.stepMs), ''],
  ]
  const most = f.costliest.map((p, i) => [`${i + 1}. ${p.what}`, `${formatInteger(p.times)} ×`, formatMs(p.ms - p.besideMs), share(p.ms - p.besideMs), p.at ?? ''])
  const widths = most.map(m => m.slice(0, 4)).reduce<number[]>((w, m) => m.map((c, i) => Math.max(w[i] ?? 0, c.length)), [])
  return [
    `time of a step on ${formatInteger(f.devices)} device${f.devices === 1 ? '' : 's'} of ${f.machine}, ${formatInteger(f.hosts)} host${f.hosts === 1 ? '' : 's'}: predicted`, ...formatTable(time).map(l => `  ${l}`), '',
    'what costs most', ...most.map(m => `  ${m.map((c, i) => (i === 0 || i === 4 ? c.padEnd(widths[i] ?? 0) : c.padStart(widths[i] ?? 0))).join('  ').trimEnd()}`), '',
    `memory: ${formatBytes(f.peakBytes)} of ${formatBytes(f.memoryBytes)} of a device${f.fits ? '' : `: ${formatBytes(f.peakBytes - f.memoryBytes)} too much`}`,
    ...(f.utilisation === null || f.hardwareUtilisation === null ? [] : [`utilisation: ${percent(f.utilisation)} of the specified peak by the model's operations (${skipsBlocks ? 'attention without blocks that are masked whole' : 'attention with all scores, also those that a mask hides: no causal halving'}), ${percent(f.hardwareUtilisation)} by those that are done`]),
    ...(f.idle === 0 ? [] : [`the pipeline's stages are idle ${percent(f.idle)} of that time`]),
    `${formatInteger(f.perSecond)} ${f.unit} a second; 10¹² ${f.unit} take ${formatInteger(f.deviceHoursPerTrillion)} device-hours${f.dollarsPerTrillion === null ? '' : `, ${dollars(f.dollarsPerTrillion)}`}`,
  ]
}
