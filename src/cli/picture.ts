/** The mesh as a picture: who holds what. */
import type { DeviceRow, PlanEvent } from '../train/events.ts'
import { formatBytes, formatCount, formatInteger, formatTable } from './format.ts'

const box = (d: DeviceRow): string[] => [
  `device ${d.device}`,
  `${formatCount(d.parameters)} parameters`,
  formatBytes(d.bytes),
  d.rows[1] - d.rows[0] === 1 ? `example ${d.rows[0]}` : `examples ${d.rows[0]}–${d.rows[1] - 1}`,
]

const mostRows = 8

/**
 * Rows are places along the first axes, columns along the last. Devices beyond `columns` characters or a screen of rows are
 * only counted: all hold as much.
 */
export function drawMesh({ mesh, devices }: Pick<PlanEvent, 'mesh' | 'devices'>, columns = 100): string[] {
  const axes = mesh.filter(a => a.size > 1)
  const across = axes.at(-1)
  const perRow = across?.size ?? 1
  const cells = devices.map(box)
  const width = Math.max(...cells.flat().map(line => line.length))
  const label = (d: DeviceRow): string => axes.slice(0, -1).map(a => `${a.name} ${d.coordinates[a.name] ?? 0}`).join(' ')
  const labels = devices.filter((_, i) => i % perRow === 0).map(label).slice(0, mostRows)
  const margin = Math.max(0, ...labels.map(l => l.length))
  const indent = ' '.repeat(margin + 2)
  const drawn = Math.min(perRow, Math.max(1, Math.floor((columns - indent.length + 1) / (width + 5))))
  const lines = across === undefined ? [] : [indent + Array.from({ length: drawn }, (_, i) => `  ${`${across.name} ${i}`.padEnd(width + 2)}`).join(' ').trimEnd()]
  labels.forEach((text, row) => {
    const group = cells.slice(row * perRow, row * perRow + drawn)
    const edge = (left: string, right: string): string => indent + group.map(() => `${left}${'─'.repeat(width + 2)}${right}`).join(' ')
    lines.push(edge('┌', '┐'))
    for (let i = 0; i < 4; i++) {
      lines.push(`${(i === 1 ? text : '').padEnd(margin)}  ${group.map(cell => `│ ${(cell[i] ?? '').padEnd(width)} │`).join(' ')}`)
    }
    lines.push(edge('└', '┘'))
  })
  const hidden = devices.length - drawn * labels.length
  return hidden === 0 ? lines : [...lines, `${indent}and ${hidden} more, each with as much`]
}

/** The collectives of one step, a line each. */
export function drawCollectives({ collectives }: Pick<PlanEvent, 'collectives'>): string[] {
  if (collectives.length === 0) return ['collectives of one step: none']
  const rows = collectives.map(c => [c.kind, `along ${c.axes.join(', ')}`, `${formatInteger(c.count)} ×`, formatBytes(c.bytes)])
  return ['collectives of one step, bytes entering on each device', ...formatTable(rows, 2).map(l => `  ${l}`)]
}

const amount = ({ tokens, rows, heldOut, vocab }: PlanEvent['data']): string => {
  const parts = [tokens === undefined ? rows === undefined ? '' : `${formatInteger(rows)} rows` : `${formatInteger(tokens)} tokens`, heldOut === undefined ? '' : `${formatInteger(heldOut)} held out`, vocab === undefined ? '' : `vocabulary ${formatInteger(vocab)}`].filter(p => p !== '')
  return parts.length === 0 ? '' : `: ${parts.join(', ')}`
}

export const drawPlan = (plan: PlanEvent, columns?: number): string[] => [
  `mesh    ${plan.mesh.map(a => `${a.name} ${a.size}`).join(' × ')}: ${plan.devices.length} device${plan.devices.length === 1 ? '' : 's'} of ${plan.backend}`,
  `model   ${formatInteger(plan.parameters)} parameters`,
  `data    ${plan.data.name} (${plan.data.licence})${amount(plan.data)}`,
  '',
  ...drawMesh(plan, columns),
  '',
  ...drawCollectives(plan),
  '',
]
