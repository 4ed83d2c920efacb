/** Only this part of node-forge is loaded: the whole is three times as much, at every start. */
declare module 'node-forge/lib/ed25519.js' {
  import forge from 'node-forge'
  export default forge
}
