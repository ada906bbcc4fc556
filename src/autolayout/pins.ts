/** Rules that a user has fixed, and what is left to choose beside them. */
import { axisOf, mesh as meshOf, type Mesh } from '../core/mesh.ts'
import type { Layout, Layouts } from '../core/layout.ts'
import { LayoutError } from '../core/errors.ts'
import { didYouMean } from '../core/nearest.ts'
import { idle, type Option } from './options.ts'
import type { Tensors } from './legal.ts'

/** Rules by layout; what rests is searched only where nothing is said of it. The axes that they name are there. */
export interface Pins {
  readonly layout?: Layout | undefined
  readonly params?: Layout | undefined
  readonly state?: Layout | undefined
}

const axesIn = (rules: Layout | undefined): string[] => [...new Set(Object.values(rules ?? {}).flat().filter(a => a !== undefined))]
const dimsOn = (rules: Layout | undefined, axis: string): string[] => Object.entries(rules ?? {}).flatMap(([dim, rule]) => ([rule].flat().includes(axis) ? [dim] : []))

/** The same, said once: a rule of what rests that is the layout's, too, says nothing more. */
export function saidOnce({ layout, params, state }: Pins): Pins {
  const without = (rules: Layout | undefined, ...below: readonly (Layout | undefined)[]): Layout | undefined => (rules === undefined ? undefined : Object.fromEntries(Object.entries(rules).flatMap(([dim, rule]) => {
    const axes = [rule ?? []].flat().filter(axis => !below.some(b => [b?.[dim] ?? []].flat().includes(axis)))
    return axes.length === 0 ? [] : [[dim, axes] as const]
  })))
  return { layout, params: without(params, layout), state: without(state, layout, params) }
}

/** The axes that pins name. */
export const pinnedAxes = ({ layout, params, state }: Pins): string[] => [...new Set([...axesIn(layout), ...axesIn(params), ...axesIn(state)])]
/** What an axis has to do. */
export const pinnedOption = ({ layout, params, state }: Pins, axis: string): Option => ({ ...idle, compute: dimsOn(layout, axis), params: dimsOn(params, axis), state: dimsOn(state, axis) })

/** Whether what an axis does is what pins want of it: at least these dims, and of what rests these alone where something is said of it. */
export function keepsPins(pins: Pins, axis: string | undefined, option: Option): boolean {
  const own = axis === undefined ? idle : pinnedOption(pins, axis)
  const others = Object.entries(pins.layout ?? {}).flatMap(([dim, rule]) => ([rule].flat().includes(axis) ? [] : [dim]))
  const exactly = (given: Layout | undefined, found: readonly string[], want: readonly string[]): boolean => given === undefined || [...found].sort().join() === [...want].sort().join()
  return own.compute.every(d => option.compute.includes(d)) && !option.compute.some(d => others.includes(d)) && exactly(pins.params, option.params, own.params) && exactly(pins.state, option.state, own.state)
}

/** Every way to give so many axes sizes of at least 2 whose product divides the devices, the smallest first. */
const sizesOf = (devices: number, axes: number): number[][] => (axes === 0 ? [[]]
  : Array.from({ length: devices - 1 }, (_, i) => i + 2).filter(n => devices % n === 0).flatMap(n => sizesOf(devices / n, axes - 1).map(rest => [n, ...rest])))

/** @throws LayoutError for a dim that the model lacks, and for pins that no layout can keep together */
export function checkPins(pins: Pins, given: { readonly tensors: Tensors; readonly dims: readonly string[]; readonly devices: number; readonly mesh: Mesh | undefined; readonly uses: Layouts['uses'] }): void {
  const { tensors, dims, devices, mesh, uses } = given
  for (const rules of [pins.layout, pins.params, pins.state]) {
    for (const dim of Object.keys(rules ?? {})) if (!dims.includes(dim)) throw new LayoutError({ code: 'unknown-dim', what: `the layout names dim "${dim}", which the model does not have`, fix: didYouMean(dim, dims) })
    if (mesh !== undefined) for (const axis of axesIn(rules)) axisOf(mesh, axis)
  }
  const axes = pinnedAxes(pins)
  const meshes = mesh !== undefined ? [mesh] : sizesOf(devices, axes.length).map(sizes => meshOf(Object.fromEntries(axes.map((a, i) => [a, sizes[i] ?? 1]))))
  if (meshes.length === 0) throw new LayoutError({ code: 'pins', what: `the fixed rules name ${axes.length} ax${axes.length === 1 ? 'is' : 'es'}, ${axes.join(', ')}, and ${devices} device${devices === 1 ? ' has' : 's have'} no mesh of so many`, fix: 'fix fewer rules, or give more devices' })
  const rules = { layout: pins.layout ?? {}, ...(pins.params === undefined ? {} : { params: pins.params }), ...(pins.state === undefined ? {} : { state: pins.state }), ...(uses === undefined ? {} : { uses }) }
  let wrong: string | undefined
  for (const sizes of meshes) {
    const its = tensors.wrong(rules, sizes)
    if (its === undefined) return
    wrong ??= its
  }
  if (wrong === undefined) return
  const said = [['layout', pins.layout], ['params', pins.params], ['state', pins.state]] as const
  throw new LayoutError({
    code: 'pins', what: `no layout can keep these rules: ${wrong ?? ''}`,
    details: { rules: said.flatMap(([name, rules]) => Object.entries(rules ?? {}).map(([d, rule]) => `${d} → ${[rule].flat().join(', ')}${name === 'layout' ? '' : ` (${name})`}`)).join(', ') },
    fix: 'leave one of the rules to the search',
  })
}
