/** A promise, and by what it is resolved. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  /** The first time counts. */
  readonly resolve: (value: T) => void;
}

function ignore(): void {
  // Until the promise has said by what it is resolved, which it does as it is made.
}

export function createDeferred<T>(): Deferred<T> {
  let settle: (value: T) => void = ignore;
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, resolve: settle };
}
