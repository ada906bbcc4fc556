/** The field for the token, where the server wants one that the page has not. */
import type { VNode } from 'preact'
import { giveToken, hasToken } from './api.ts'
import { connection, listen } from './live.ts'

export function TokenForm(): VNode {
  const given = (form: HTMLFormElement): void => {
    giveToken((new FormData(form).get('token') as string).trim())
    connection.value = 'connecting'
    void listen()
  }
  return (
    <main class="key">
      <form onSubmit={e => { e.preventDefault(); given(e.currentTarget) }}>
        <h1>This page wants a token</h1>
        <p class="muted">The one that it was started with: <code>--token</code>, or <code>MESHWORK_PAGE_TOKEN</code>. It is kept as long as this tab is open.</p>
        {hasToken() && <p class="wrong" role="alert">The server does not know this token.</p>}
        <label for="token">Token</label>
        <div class="row">
          <input id="token" name="token" type="password" autocomplete="off" required autofocus />
          <button class="main" type="submit">Go on</button>
        </div>
      </form>
    </main>
  )
}
