/** esbuild puts the file's bytes into the bundle (loader "binary"). */
declare module "*.wasm" {
  const bytes: Uint8Array;
  export default bytes;
}
