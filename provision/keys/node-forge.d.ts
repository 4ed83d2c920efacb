/** Only this part of node-forge is loaded: the whole is three times as much, at every start. */
declare module 'node-forge/lib/ed25519.js' {
  import { pki } from 'node-forge'
  const ed25519: typeof pki.ed25519
  export default ed25519
}
