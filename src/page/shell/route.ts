/** Where one is on the page: `#/VIEW?run=ID&run=…`, so that a link leads back there. */
import { computed, signal, type ReadonlySignal, type Signal } from '@preact/signals'

export interface Place { readonly view: string; readonly params: URLSearchParams }
const placeIn = (hash: string): Place => {
  const [view = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  return { view, params: new URLSearchParams(query) }
}
export const place: Signal<Place> = signal(placeIn(location.hash))
addEventListener('hashchange', () => { place.value = placeIn(location.hash) })

export const hashOf = (view: string, params: URLSearchParams): string => { const query = params.toString(); return `#/${view}${query === '' ? '' : `?${query}`}` }
/** The ids that the address names. */
export const named: ReadonlySignal<readonly string[]> = computed(() => place.value.params.getAll('run'))

function go(view: string, params: URLSearchParams): void {
  history.replaceState(null, '', hashOf(view, params))
  place.value = { view, params }
}
/** Writes parameters of the address, in place of those of the same names; undefined takes one away. */
export function setParams(changes: Readonly<Record<string, string | undefined>>): void {
  const params = new URLSearchParams(place.value.params)
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) params.delete(name)
    else params.set(name, value)
  }
  go(place.value.view, params)
}
export function choose(runs: readonly string[], view: string = place.value.view): void {
  const params = new URLSearchParams(place.value.params)
  params.delete('run')
  for (const id of runs) params.append('run', id)
  go(view, params)
}
