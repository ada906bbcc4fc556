/** One step of one device as a picture: three lanes, the way forward, the way back and the update; loops in frames, collectives in their own colours. */
import { formatBytes, formatFlops, formatInteger, formatMs } from '../core/quantities.ts'
import type { CollectiveShown, ItemShown, OpsShown, PagePlan, Phase, ProgramShown } from '../train/pictured-shape.ts'
import { fitted, shape, text, widthOf, type Picture, type Shape } from './svg.ts'

const lanes: readonly Phase[] = ['forward', 'backward', 'update']
const names: { readonly [P in Phase]: string } = { forward: 'Forward', backward: 'Backward', update: 'Update' }

/** Ops between two collectives or loops, as one line. */
interface Ops { readonly kind: 'ops'; readonly ids: readonly number[]; readonly phase: Phase; readonly titles: readonly string[]; readonly ops: number; readonly flops: number }
interface Frame { readonly kind: 'loop'; readonly id: number; readonly phase: Phase; readonly words: string; readonly lines: readonly Line[] }
interface Sending { readonly kind: 'collective'; readonly ids: readonly number[]; readonly of: CollectiveShown; readonly many: number; readonly bytes: number; readonly tensors: readonly string[] }
type Line = Ops | Frame | Sending

const sameSending = (a: CollectiveShown, b: CollectiveShown): boolean => a.collective === b.collective && a.axes.join() === b.axes.join() && a.count === b.count && a.at === b.at

/** Neighbours that say the same are one line. */
function linesOf(items: readonly ItemShown[]): Line[] {
  const lines: Line[] = []
  const withOps = ({ id, phase, title, ops, flops }: OpsShown): void => {
    const last = lines.at(-1)
    if (last?.kind === 'ops' && last.phase === phase) lines[lines.length - 1] = { ...last, ids: [...last.ids, id], titles: last.titles.includes(title) ? last.titles : [...last.titles, title], ops: last.ops + ops.length, flops: last.flops + flops }
    else lines.push({ kind: 'ops', ids: [id], phase, titles: [title], ops: ops.length, flops })
  }
  const send = (c: CollectiveShown): void => {
    const last = lines.at(-1)
    // Ops that only take apart or put together what is sent are between collectives of one kind everywhere.
    const before = last?.kind === 'ops' && last.titles.join() === 'between' ? lines.at(-2) : last
    if (before?.kind !== 'collective' || !sameSending(before.of, c)) return void lines.push({ kind: 'collective', ids: [c.id], of: c, many: 1, bytes: c.bytes * c.count, tensors: c.tensors })
    if (before !== last) lines.pop()
    lines[lines.length - 1] = { ...before, ids: [...before.ids, c.id], many: before.many + 1, bytes: before.bytes + c.bytes * c.count, tensors: [...before.tensors, ...c.tensors] }
  }
  for (const item of items) {
    if (item.kind === 'ops') withOps(item)
    else if (item.kind === 'collective') send(item)
    else if (item.kind === 'loop') lines.push({ kind: 'loop', id: item.id, phase: item.phase, words: loopText(item.over, item.turns), lines: linesOf(item.items) })
    else for (const b of item.branches) lines.push({ kind: 'loop', id: item.id, phase: item.phase, words: b.name, lines: linesOf(b.items) })
  }
  return lines
}
export const loopText = (over: string, turns: number | null): string => `${turns === null ? 'as often as it takes' : `${formatInteger(turns)} ×`}${over === '' ? '' : ` over ${over}`}`

const [lineHeight, pad] = [19, 7]
/** File names are as short as they may be: their last part, and the line. */
const titlesText = (titles: readonly string[]): string => {
  const files = new Map<string, string[]>()
  for (const title of titles) {
    const [, file = title, line] = /([^/]+):(\d+)$/.exec(title) ?? []
    files.set(file, [...files.get(file) ?? [], ...(line === undefined ? [] : [line])])
  }
  if (files.size > 3) return `${[...files.keys()][0] ?? ''} and ${files.size - 1} more`
  return [...files].map(([file, lines]) => (lines.length === 0 ? file : `${file}:${lines.join(', ')}`)).join('; ')
}

export const collectiveText = ({ collective, axes }: Pick<CollectiveShown, 'collective' | 'axes'>): string => `${collective} ${axes.join(', ')}`

function draw(lines: readonly Line[], x: number, y: number, width: number, out: Shape[]): number {
  for (const line of lines) {
    if (line.kind === 'loop') {
      const inner: Shape[] = []
      const end = draw(line.lines, x + pad, y + lineHeight + 3, width - 2 * pad, inner)
      out.push(shape('g', { 'data-id': line.id }, shape('rect', { class: `${line.phase} soft`, x, y, width, height: end - y + pad - 3, rx: 5 }), shape('rect', { class: 'frame', x: x + 0.5, y: y + 0.5, width: width - 1, height: end - y + pad - 4, rx: 5 }), text(x + pad, y + 14, fitted(line.words, width - 2 * pad), { class: 'heading' })), ...inner)
      y = end + pad + 2
    } else if (line.kind === 'ops') {
      const right = line.flops > 0 ? formatFlops(line.flops) : ''
      const room = width - 12 - widthOf(right, 10) - 8
      out.push(shape('g', { 'data-id': line.ids[0] ?? 0 }, shape('title', {}, `${line.titles.join(', ')}: ${line.ops} ops${right === '' ? '' : `, ${right} a step`}`), shape('rect', { class: line.phase, x, y: y + 2, width: 4, height: lineHeight - 5, rx: 2 }),
        text(x + 10, y + 14, fitted(titlesText(line.titles), room)), text(x + width, y + 14, right, { anchor: 'end', class: 'small muted' })))
      y += lineHeight
    } else {
      const { of, many, bytes, tensors } = line
      const right = `${formatBytes(bytes)}${of.ms === undefined ? '' : `, ${formatMs(of.ms * of.count * many)}`}`
      const words = `${many > 1 ? `${many} ` : ''}${collectiveText(of)}${of.count > 1 ? ` ×${formatInteger(of.count)}` : ''}`
      out.push(shape('g', { 'data-id': line.ids[0] ?? 0 }, shape('title', {}, `${words}: ${right} a step enter on each device${tensors.length === 0 ? '' : `, of ${tensors.join(', ')}`}${of.at === null ? '' : `; ${of.at}`}`),
        shape('rect', { class: of.collective, x, y: y + 1, width, height: lineHeight - 3, rx: 4 }), text(x + 7, y + 13.5, fitted(words, width - 22 - widthOf(right, 10)), { class: 'on' }), text(x + width - 7, y + 13.5, right, { anchor: 'end', class: 'small on' })))
      y += lineHeight
    }
  }
  return y
}

export interface ProgramOptions { readonly width?: number }

export function programPicture({ program, name, plan }: Pick<PagePlan, 'program' | 'name' | 'plan'>, { width = 900 }: ProgramOptions = {}): Picture {
  const narrow = width < 600
  const lane = narrow ? width - 24 : (width - 24 - 2 * 16) / 3
  const mesh = Object.entries(plan.mesh).map(([axis, size]) => `${axis} ${formatInteger(size)}`).join(' × ') || 'one device'
  const title = `One step of ${name} on one device of ${mesh}`
  const shapes: Shape[] = [text(12, 22, title, { class: 'heading' })]
  let [bottom, top] = [0, 54]
  lanes.forEach((phase, i) => {
    const x = narrow ? 12 : 12 + i * (lane + 16)
    const turns = phase === 'forward' && isMixed(program.forward)
    shapes.push(text(x, top - 8, turns ? 'Forward and backward by turns' : names[phase], { class: 'heading' }), shape('rect', { class: phase, x, y: top - 3, width: lane, height: 3 }))
    const end = draw(linesOf(program[phase]), x, top + 6, lane, shapes)
    bottom = Math.max(bottom, end)
    if (narrow) top = end + 36
  })
  return { width, height: bottom + 12, title, shapes }
}
const isMixed = (items: ProgramShown['forward']): boolean => items.some(item => item.phase === 'backward' || (item.kind === 'loop' && isMixed(item.items)))
