/** The page as a whole: its tabs, how the server is, and the view. */
import { signal, type Signal } from '@preact/signals'
import type { ComponentType, VNode } from 'preact'
import { useEffect } from 'preact/hooks'
import { count, plural } from '../shown.ts'
import { chosen, connection, runs, type Connection } from './live.ts'
import { hashOf, place, setParams } from './route.ts'
import { TokenForm } from './token.tsx'
import type { ViewProps } from './view.ts'
import { views } from './views.ts'

const words: Readonly<Record<Connection, string>> = { connecting: 'connecting', open: '', token: 'wants a token', lost: 'not reached, looking again' }

function Pulse(): VNode {
  const running = runs.value?.filter(r => r.state === 'running').length ?? 0
  return (
    <p class="pulse" data-state={connection.value === 'token' ? 'key' : connection.value} role="status">
      <span class="dot" data-busy={running > 0} aria-hidden="true" />
      <span>{connection.value === 'open' ? running > 0 ? `${count(running)} running` : plural(runs.value?.length ?? 0, 'run') : words[connection.value]}</span>
    </p>
  )
}

const loaded: Signal<ReadonlyMap<string, ComponentType<ViewProps>>> = signal(new Map())
const failed: Signal<string | undefined> = signal(undefined)
async function load(id: string): Promise<void> {
  const view = views.find(v => v.id === id)
  if (view === undefined || loaded.value.has(id)) return
  try {
    const component = await view.load()
    failed.value = undefined
    loaded.value = new Map([...loaded.value, [id, component]])
  } catch (e) {
    // The server that the page came from may have been another version's.
    failed.value = e instanceof Error ? e.message : String(e)
  }
}

function Current({ id }: { readonly id: string }): VNode {
  useEffect(() => { void load(id) }, [id])
  const View = loaded.value.get(id)
  if (View === undefined) return <main class="view">{failed.value === undefined ? null : <p class="wrong" role="alert">This view cannot be loaded ({failed.value}): reload the page.</p>}</main>
  return <main class="view" data-view={id} data-stale={connection.value === 'lost'}><View runs={chosen.value} params={place.value.params} set={setParams} /></main>
}

export function App(): VNode {
  const id = views.find(v => v.id === place.value.view)?.id ?? (runs.value?.length === 1 ? 'training' : 'runs')
  const title = views.find(v => v.id === id)?.title ?? ''
  useEffect(() => { document.title = `${title} · Meshwork` }, [title])
  return (
    <>
      <header class="top">
        <span class="mark">
          <svg viewBox="0 0 16 16" aria-hidden="true"><path d="M1 1h14v14H1zM8 1v14M1 8h14" /><path class="full" d="M8 1h7v7H8z" /></svg>
          <span>Meshwork</span>
        </span>
        <nav aria-label="Views">{views.map(v => <a key={v.id} href={hashOf(v.id, place.value.params)} aria-current={v.id === id ? 'page' : undefined}>{v.title}</a>)}</nav>
        <Pulse />
      </header>
      {connection.value === 'token' ? <TokenForm /> : runs.value === undefined ? <main class="view" /> : <Current id={id} />}
    </>
  )
}
