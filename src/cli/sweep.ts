/** `--sweep`: predictions for several values of a field, as a table and as curves. */
import { UsageError } from '../core/errors.ts'
import type { Forecast } from '../train/forecast.ts'
import { dollars, formatMs } from './forecast-text.ts'
import { formatBytes, formatInteger, formatTable } from './format.ts'
import { colours, curve, picture, rule, text, ticks } from './svg.ts'

export interface Swept { readonly value: string; readonly predicted: Forecast }

/** @throws UsageError where it is not FIELD=A,B */
export function sweepOf(given: string): { readonly field: string; readonly values: readonly string[] } {
  const at = given.indexOf('=')
  const [field, values] = [given.slice(0, Math.max(0, at)).trim(), given.slice(at + 1).split(',').map(v => v.trim())]
  if (at < 1 || field === '' || values.some(v => v === '')) throw new UsageError({ code: 'flag', what: `--sweep: "${given}" is not FIELD=A,B,…`, fix: 'name a field of the run and its values, such as --sweep batch=64,128,256, or hosts: --sweep hosts=1,2,4' })
  return { field, values }
}

export function drawSweep(field: string, swept: readonly Swept[]): string[] {
  const priced = swept.some(s => s.predicted.dollarsPerTrillion !== null)
  const unit = swept[0]?.predicted.unit ?? 'tokens'
  const rows = swept.map(({ value, predicted: p }) => [
    value, formatInteger(p.devices), formatMs(p.stepMs), p.utilisation === null ? '–' : `${(100 * p.utilisation).toFixed(1)} %`, formatInteger(p.perSecond), `${formatBytes(p.peakBytes)}${p.fits ? '' : ', too much'}`,
    formatInteger(p.deviceHoursPerTrillion), ...(priced ? [p.dollarsPerTrillion === null ? '–' : dollars(p.dollarsPerTrillion)] : []),
  ])
  return formatTable([[field, 'devices', 'a step', 'utilisation', `${unit}/s`, 'memory', `device-hours for 10¹² ${unit}`, ...(priced ? ['cost of them'] : [])], ...rows])
}

const [width, height, left, right, top, bottom] = [720, 380, 80, 80, 50, 60] as const

/** The time of a step, and utilisation; values stand beside each other, equally far. */
export function drawSweepPicture(name: string, field: string, swept: readonly Swept[]): string {
  const x = (i: number): number => left + (width - left - right) * (swept.length < 2 ? 0.5 : i / (swept.length - 1))
  const y = (share: number): number => height - bottom - (height - top - bottom) * share
  const most = 1.05 * Math.max(...swept.map(s => s.predicted.stepMs))
  const used = swept.map(s => s.predicted.utilisation)
  const best = 1.05 * Math.max(0.01, ...used.map(u => u ?? 0))
  return picture(width, height, `${name}: ${field}`, [
    text(left, 24, `${name} on ${swept[0]?.predicted.machine ?? ''}: the time of a step (blue), utilisation (green), by ${field}`),
    rule(left, y(0), width - right, y(0)), rule(left, y(0), left, y(1)), rule(width - right, y(0), width - right, y(1)),
    ...ticks(most).map(t => text(left - 6, y(t / most) + 4, formatMs(t), 'end')), ...ticks(best).map(t => text(width - right + 6, y(t / best) + 4, `${(100 * t).toFixed(0)} %`)),
    ...swept.map((s, i) => text(x(i), height - bottom + 20, `${s.value}${s.predicted.fits ? '' : ' (too large)'}`, 'middle')), text(width / 2, height - 14, field, 'middle'),
    curve(swept.map((s, i) => [x(i), y(s.predicted.stepMs / most)]), colours.product), curve(used.flatMap((u, i) => (u === null ? [] : [[x(i), y(u / best)] as const])), colours.good),
  ])
}
