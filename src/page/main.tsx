/** The page of `meshwork serve`: a playground, and what the server is doing. */
import { render } from 'preact'
import { keepAll } from './playground.ts'
import { listen } from './server.ts'
import { App } from './views/app.tsx'

keepAll()
void listen()
render(<App />, document.getElementById('page') as HTMLElement)
