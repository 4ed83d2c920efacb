import assert from 'node:assert/strict'
import { createServer, type AddressInfo } from 'node:net'
import { test } from 'node:test'
import { refusesPlainKeys } from '../../../provision/runtime/adopt-login.ts'
import { knoxError, tempFolder } from '../../support/expect.ts'

test('a machine that does not answer has not let a plain key in, nor refused it', async (t) => {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((done) => server.once('listening', done))
  const { port } = server.address() as AddressInfo
  const login = { address: `127.0.0.1:${port}`, user: 'root', config: '/dev/null' }
  const box = { folder: await tempFolder(t), name: 'knox' }
  await assert.rejects(refusesPlainKeys(login, box), knoxError('unreachable'))
})
