/**
 * The number of the last commit, in memory that all threads share. It is raised before anybody is told of the commit: so whatever has been told is at most this, and whoever
 * asks a partition for keys after having read this is shown that commit.
 */
export class StoreVersion {
  readonly memory: SharedArrayBuffer;
  readonly #word: BigInt64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.memory = memory;
    this.#word = new BigInt64Array(memory);
  }

  read(): number {
    return Number(Atomics.load(this.#word, 0));
  }

  set(version: number): void {
    Atomics.store(this.#word, 0, BigInt(version));
  }
}
