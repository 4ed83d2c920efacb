import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export interface Healthcheck {
  readonly url: string
  readonly heard: string[]
}

export type Answer = (path: string, n: number) => number | 'silence' | { readonly location: string }

/** A healthcheck server on loopback, and what it heard. */
export const healthcheck = async (t: TestContext, answer: Answer = () => 200): Promise<Healthcheck> => {
  const heard: string[] = []
  const server = createServer((request, response) => {
    heard.push(`${request.method ?? ''} ${request.url ?? ''}`)
    const what = answer(request.url ?? '', heard.length)
    if (what === 'silence') return
    if (typeof what === 'number') response.writeHead(what).end('OK')
    else response.writeHead(302, { location: what.location }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ping/s3cret`, heard }
}
