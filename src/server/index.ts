/** The door of the server: answers over HTTP, as OpenAI's clients ask for them. */
export { openServer, type OpenServer, type ServerOptions } from './server.ts'
export { routes } from './routes.ts'
export type { AdapterPlace, ServedModel } from './models.ts'
