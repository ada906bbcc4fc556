/** `--sweep`: predictions for several values of a field, as a table and as curves. */
import { UsageError } from '../core/errors.ts'
import { style } from '../draw/colours.ts'
import { fileOf } from '../draw/svg.ts'
import { sweepPicture } from '../draw/sweep.ts'
import type { Forecast } from '../train/forecast.ts'
import { dollars } from './forecast-text.ts'
import { formatBytes, formatInteger, formatMs, formatTable } from './format.ts'

/** Of a value what its step takes, or why nothing can be laid so. */
export type Swept = { readonly value: string; readonly predicted: Forecast } | { readonly value: string; readonly wrong: { readonly code: string; readonly what: string; readonly fix?: string } }
const laidOf = (swept: readonly Swept[]): readonly Extract<Swept, { readonly predicted: Forecast }>[] => swept.filter(s => 'predicted' in s)

/** @throws UsageError where it is not FIELD=A,B */
export function sweepOf(given: string): { readonly field: string; readonly values: readonly string[] } {
  const at = given.indexOf('=')
  const [field, values] = [given.slice(0, Math.max(0, at)).trim(), given.slice(at + 1).split(',').map(v => v.trim())]
  if (at < 1 || field === '' || values.some(v => v === '')) throw new UsageError({ code: 'flag', what: `--sweep: "${given}" is not FIELD=A,B,…`, fix: 'name a field of the run and its values, such as --sweep batch=64,128,256, or hosts: --sweep hosts=1,2,4' })
  return { field, values }
}

export function drawSweep(field: string, swept: readonly Swept[]): string[] {
  const laid = laidOf(swept)
  const priced = laid.some(s => s.predicted.dollarsPerTrillion !== null)
  const unit = laid[0]?.predicted.unit ?? 'tokens'
  const headings = [field, 'devices', 'a step', 'utilisation', `${unit}/s`, 'memory', `device-hours for 10¹² ${unit}`, ...(priced ? ['cost of them'] : [])]
  const rows = swept.map(s => {
    if ('wrong' in s) return [s.value, ...headings.slice(1).map(() => '')]
    const p = s.predicted
    return [
      s.value, formatInteger(p.devices), formatMs(p.stepMs), p.utilisation === null ? '–' : `${(100 * p.utilisation).toFixed(1)} %`, formatInteger(p.perSecond), `${formatBytes(p.peakBytes)}${p.fits ? '' : ', too much'}`,
      formatInteger(p.deviceHoursPerTrillion), ...(priced ? [p.dollarsPerTrillion === null ? '–' : dollars(p.dollarsPerTrillion)] : []),
    ]
  })
  const width = Math.max(field.length, ...swept.map(s => s.value.length))
  const [heading = '', ...lines] = formatTable([headings, ...rows])
  return [heading, ...swept.map((s, i) => ('wrong' in s ? `${s.value.padEnd(width)}  cannot be laid: ${s.wrong.what}${s.wrong.fix === undefined ? '' : `; ${s.wrong.fix}`}` : lines[i] ?? ''))]
}

/** The time of a step, and utilisation, as the text of a file. */
export const drawSweepPicture = (name: string, field: string, swept: readonly Swept[]): string => {
  const laid = laidOf(swept)
  return fileOf(sweepPicture(name, laid[0]?.predicted.machine ?? '', field, laid.map(({ value, predicted: { stepMs, utilisation, fits } }) => ({ value, stepMs, utilisation, fits }))), style)
}
