/** The page as a whole: its tabs, how the server is, and the view. */
import { signal, type Signal } from '@preact/signals'
import type { ComponentType, VNode } from 'preact'
import { useEffect } from 'preact/hooks'
import { Mark } from '../mark.tsx'
import { SecretForm } from '../secret.tsx'
import { count, plural } from '../shown.ts'
import { giveToken, hasToken } from './api.ts'
import { chosen, connection, listen, runs, type Connection } from './live.ts'
import { hashOf, place, setParams } from './route.ts'
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

function given(token: string): void {
  giveToken(token)
  connection.value = 'connecting'
  void listen()
}

export function App(): VNode {
  const said = views.find(v => v.id === place.value.view)?.id
  // What the address names need not wait for the table of runs.
  useEffect(() => { if (said !== undefined) void load(said) }, [said])
  const id = said ?? (runs.value?.length === 1 ? 'training' : 'runs')
  const title = views.find(v => v.id === id)?.title ?? ''
  useEffect(() => { document.title = `${title} · Meshwork` }, [title])
  return (
    <>
      <header class="top">
        <Mark />
        <nav aria-label="Views">{views.map(v => <a key={v.id} href={hashOf(v.id, place.value.params)} aria-current={v.id === id ? 'page' : undefined}>{v.title}</a>)}</nav>
        <Pulse />
      </header>
      {connection.value === 'token' ? <SecretForm word="token" of="page" refused={hasToken()} give={given}>The one that it was started with: <code>--token</code>, or <code>MESHWORK_PAGE_TOKEN</code>.</SecretForm> : runs.value === undefined ? <main class="view" /> : <Current id={id} />}
    </>
  )
}
