export const httpPortBytes: number = Int32Array.BYTES_PER_ELEMENT;

/** On which port HTTP is served, for all threads: pages from there are this server's own. */
export class HttpPort {
  readonly #word: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  /** 0: nowhere, or not yet. */
  get port(): number {
    return Atomics.load(this.#word, 0);
  }

  set port(port: number) {
    Atomics.store(this.#word, 0, port);
  }
}
