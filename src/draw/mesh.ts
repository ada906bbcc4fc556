/** The mesh as a picture: devices along their axes, what each holds, and of one tensor which part lies where. */
import { formatBytes, formatInteger } from '../core/quantities.ts'
import type { PagePlan, TensorShown } from '../train/pictured-shape.ts'
import { partColour } from './colours.ts'
import { coordinatesOf, deviceAt, partOf, rangesOf, rangeText, type Coordinates, type Sizes } from './parts.ts'
import { fitted, shape, text, widthOf, type Picture, type Shape } from './svg.ts'

export interface MeshOptions {
  /** The path of a tensor whose parts are shown; without one, what each device holds in all. */
  readonly tensor?: string | undefined
  /** The device that is pointed at. */
  readonly device?: number | undefined
  /** About as wide as it may be, in pixels. */
  readonly width?: number
  /** Host of each device, where there are several. */
  readonly hosts?: readonly string[]
  /** Devices that are processes of their own are called by their rank. */
  readonly ranks?: boolean
}

/** Places along an axis that are drawn; undefined stands for those between. */
type Places = readonly (number | undefined)[]
const placesOf = (size: number, most: number): Places =>
  (size <= most ? Array.from({ length: size }, (_, i) => i) : [...Array.from({ length: Math.max(1, most - 2) }, (_, i) => i), undefined, size - 1])

interface Axes { readonly folded: readonly string[]; readonly panels: string | undefined; readonly rows: string | undefined; readonly columns: string | undefined }
/** The last axis goes across, the one before it down, the one before that over panels; what is left is folded. */
function axesOf(mesh: Sizes): Axes {
  const all = Object.entries(mesh).filter(([, size]) => size > 1).map(([axis]) => axis)
  return { folded: all.slice(0, -3), panels: all.at(-3), rows: all.at(-2), columns: all.at(-1) }
}

const most = { columns: 16, rows: 16, panels: 4 } as const
/** So many devices are drawn, all of them; of more, some of each axis. */
const allDrawn = 256
const [gap, margin, gapPlace] = [6, 12, 22]

type Bytes = PagePlan['plan']['perDevice']
const bandsOf = ({ parameterBytes, stateBytes, activationBytes, peakBytes }: Bytes): readonly (readonly [name: string, bytes: number])[] =>
  [['parameters', parameterBytes], ['state', stateBytes], ['activations', activationBytes], ['rest', peakBytes - parameterBytes - stateBytes - activationBytes]]

/** What all devices hold alike, as a bar. */
function bar(bytes: Bytes, x: number, y: number, width: number, height: number): Shape[] {
  let at = x
  return bandsOf(bytes).map(([name, of]) => {
    const wide = bytes.peakBytes === 0 ? 0 : width * of / bytes.peakBytes
    at += wide
    return shape('rect', { class: name, x: at - wide, y, width: wide, height })
  })
}

interface Size { readonly width: number; readonly height: number }
/** Cells are as large as there is room for. */
function cellOf(columns: number, cells: number, width: number): Size {
  const across = Math.floor((width - 2 * margin - 90) / columns) - gap
  return across >= 130 && cells <= 16 ? { width: Math.min(190, across), height: 72 } : across >= 56 && cells <= 128 ? { width: Math.min(90, across), height: 40 } : { width: Math.max(26, Math.min(44, across)), height: 24 }
}

export function meshPicture({ plan, tensors, name }: Pick<PagePlan, 'plan' | 'tensors' | 'name'>, { tensor: path, device: pointed, width = 760, hosts = [], ranks = false }: MeshOptions = {}): Picture {
  const { mesh, perDevice } = plan
  const tensor = tensors.find(t => t.path === path)
  const { folded, panels, rows, columns } = axesOf(mesh)
  const places = (axis: string | undefined, atMost: number): Places => (axis === undefined ? [0] : placesOf(mesh[axis] ?? 1, atMost))
  const limit = plan.devices <= allDrawn ? { columns: allDrawn, rows: allDrawn, panels: allDrawn } : most
  const [over, down, across] = [places(panels, limit.panels), places(rows, limit.rows), places(columns, limit.columns)]
  const fits = Math.max(1, Math.floor((width - 2 * margin - 90) / 32))
  const wide = across.length > fits ? placesOf(mesh[columns ?? ''] ?? 1, fits) : across
  const cell = cellOf(wide.length, wide.length * down.length * over.length, width)
  const label = (axis: string | undefined, at: number): string => (axis === undefined ? '' : `${axis} ${at}`)
  const labels = Math.max(0, ...down.map(r => (r === undefined || rows === undefined ? 0 : label(rows, r).length * 6.8 + 10)))
  const extent = (of: Places, size: number): number => of.reduce<number>((n, p) => n + (p === undefined ? gapPlace : size + gap), 0)
  const panel: Size = { width: labels + extent(wide, cell.width), height: 20 + extent(down, cell.height) }
  const perLine = Math.max(1, Math.floor((width - 2 * margin) / (panel.width + 20)))
  const shapes: Shape[] = []
  let drawn = 0
  const cellAt = (at: Coordinates, x: number, y: number): void => {
    const device = deviceAt(mesh, at)
    const ranges = tensor === undefined ? [] : rangesOf(tensor, mesh, at)
    const { part, parts } = partOf(ranges)
    const called = `${ranks ? 'rank' : 'device'} ${formatInteger(device)}`
    const held = tensor === undefined ? `${formatBytes(perDevice.peakBytes)} at the peak` : `${tensor.path}: ${rangeText(ranges)}, ${formatBytes(tensor.bytes)}`
    const where = Object.entries(at).map(([axis, i]) => `${axis} ${i}`).join(', ')
    const on = tensor === undefined ? '' : 'onpart'
    const large = cell.height > 50
    const inner: Shape[] = [shape('title', {}, `${called}${where === '' ? '' : ` at ${where}`}${hosts[device] === undefined ? '' : `, on ${hosts[device]}`}: ${held}`)]
    inner.push(shape('rect', tensor === undefined ? { class: 'raised', x, y, width: cell.width, height: cell.height, rx: 4 } : { fill: partColour(part, parts), x, y, width: cell.width, height: cell.height, rx: 4 }))
    inner.push(shape('rect', { class: pointed === device ? 'chosen' : 'frame', x: x + 0.5, y: y + 0.5, width: cell.width - 1, height: cell.height - 1, rx: 4 }))
    if (large) {
      inner.push(text(x + 8, y + 18, fitted(called, cell.width - 16), { class: `heading ${on}` }))
      if (hosts[device] !== undefined) inner.push(text(x + 8, y + 32, fitted(hosts[device], cell.width - 16, 10), { class: `small ${tensor === undefined ? 'muted' : on}` }))
      if (tensor === undefined) inner.push(...bar(perDevice, x + 8, y + cell.height - 32, cell.width - 16, 8), text(x + 8, y + cell.height - 9, fitted(`${formatBytes(perDevice.peakBytes)} at the peak`, cell.width - 16, 10), { class: 'small muted' }))
      else inner.push(text(x + 8, y + cell.height - 24, fitted(rangeText(ranges), cell.width - 16), { class: on }), text(x + 8, y + cell.height - 9, fitted(formatBytes(tensor.bytes), cell.width - 16, 10), { class: `small ${on}` }))
    } else if (cell.height > 30) {
      inner.push(text(x + cell.width / 2, y + 15, fitted(formatInteger(device), cell.width - 6), { anchor: 'middle', class: `heading ${on}` }))
      if (tensor === undefined) inner.push(...bar(perDevice, x + 6, y + cell.height - 14, cell.width - 12, 7))
      else inner.push(text(x + cell.width / 2, y + cell.height - 8, fitted(parts === 1 ? 'all' : `part ${part}`, cell.width - 6, 10), { anchor: 'middle', class: `small ${on}` }))
    } else inner.push(text(x + cell.width / 2, y + 16, fitted(formatInteger(device), cell.width - 2, 10), { anchor: 'middle', class: `small ${on}` }))
    shapes.push(shape('g', { 'data-device': device, ...(tensor === undefined ? {} : { 'data-part': part }) }, ...inner))
    drawn++
  }
  const dots = (x: number, y: number): void => { shapes.push(text(x, y, '…', { anchor: 'middle', class: 'muted' })) }
  const top = panels === undefined ? 34 : 52
  over.forEach((p, i) => {
    const [x0, y0] = [margin + (i % perLine) * (panel.width + 20), top + Math.floor(i / perLine) * (panel.height + 26)]
    if (p === undefined) return dots(x0 + panel.width / 2, y0 + panel.height / 2)
    if (panels !== undefined) shapes.push(text(x0, y0 - 6, label(panels, p), { class: 'heading' }))
    let y = y0 + 20
    for (const r of down) {
      let x = x0 + labels
      if (rows !== undefined && r !== undefined) shapes.push(text(x0, y + cell.height / 2 + 4, label(rows, r), { class: 'muted' }))
      for (const c of wide) {
        if (c !== undefined && r === down[0] && columns !== undefined) shapes.push(text(x + cell.width / 2, y0 + 14, cell.width < 50 ? String(c) : label(columns, c), { anchor: 'middle', class: 'muted small' }))
        if (r === undefined || c === undefined) dots(x + (c === undefined ? gapPlace : cell.width) / 2 - 3, y + (r === undefined ? gapPlace : cell.height) / 2 + 2)
        else cellAt({ ...Object.fromEntries(Object.keys(mesh).map(axis => [axis, 0])), ...(panels === undefined ? {} : { [panels]: p }), ...(rows === undefined ? {} : { [rows]: r }), ...(columns === undefined ? {} : { [columns]: c }) }, x, y)
        x += c === undefined ? gapPlace : cell.width + gap
      }
      y += r === undefined ? gapPlace : cell.height + gap
    }
  })
  let bottom = top + Math.ceil(over.length / perLine) * (panel.height + 26) - 10
  const heading = `${name} on ${Object.entries(mesh).map(([axis, size]) => `${axis} ${formatInteger(size)}`).join(' × ') || 'one device'}${tensor === undefined ? '' : `: ${tensor.path}`}`
  const notes: string[] = []
  if (cell.width < 50 && columns !== undefined) notes.push(`${columns} across`)
  if (drawn < plan.devices) notes.push(`${formatInteger(drawn)} of ${formatInteger(plan.devices)} devices are drawn${folded.length === 0 ? '' : `: those at 0 along ${folded.join(', ')}`}; each of the others holds as much`)
  if (tensor !== undefined) notes.push(...tensorNotes(tensor))
  for (const note of notes) shapes.push(text(margin, bottom += 18, note, { class: 'muted' }))
  if (tensor === undefined) bottom = legend(shapes, perDevice, bottom + 22)
  const whole = margin * 2 + Math.max(panel.width + (Math.min(perLine, over.length) - 1) * (panel.width + 20), heading.length * 7, ...notes.map(n => widthOf(n)), tensor === undefined ? legendWidth(perDevice) : 0)
  return { width: Math.max(240, whole), height: bottom + 14, title: heading, shapes: [text(margin, 22, heading, { class: 'heading' }), ...shapes] }
}

const tensorNotes = ({ rules, dims, dtype, in: role }: TensorShown): string[] => [
  `${dtype} ${Object.entries(dims).map(([d, n]) => `${d}=${n}`).join(' ') || 'scalar'}`,
  rules.length === 0 ? `no rule of layout ${role} splits it: it is whole on every device` : `split by ${rules.map(r => `${r.dim} → ${r.axes.join(', ')} (layout ${r.layout})`).join('; ')}`,
]

const legendText = (name: string, bytes: number): string => `${name === 'rest' ? 'batch and results' : name === 'state' ? 'optimizer and step' : name} ${formatBytes(bytes)}`
const legendWidth = (bytes: Bytes): number => bandsOf(bytes).reduce((n, [name, of]) => n + 28 + widthOf(legendText(name, of)), 0)
function legend(shapes: Shape[], bytes: Bytes, y: number): number {
  let x = margin
  for (const [name, of] of bandsOf(bytes)) {
    const words = legendText(name, of)
    shapes.push(shape('rect', { class: name, x, y: y - 9, width: 10, height: 10, rx: 2 }), text(x + 14, y, words, { class: 'muted' }))
    x += 14 + widthOf(words) + 14
  }
  return y
}

/** What a device is on the mesh. */
export const placeText = (mesh: Sizes, device: number): string => Object.entries(coordinatesOf(mesh, device)).map(([axis, i]) => `${axis} ${i}`).join(', ')
