/** Takes a listener away again. */
export type StopListening = () => void;

/** Listeners by event name. What a listener throws is the program's, not the client's: it surfaces as an uncaught error. */
export class Emitter<Events extends object> {
  readonly #listeners: { [K in keyof Events]?: Set<(event: Events[K]) => void> } = {};

  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): StopListening {
    const listeners: Set<(event: Events[K]) => void> = (this.#listeners[name] ??= new Set());
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
    };
  }

  emit<K extends keyof Events>(name: K, event: Events[K]): void {
    // A copy: a listener that is added meanwhile gets the next event.
    const listeners = [...(this.#listeners[name] ?? [])];
    for (const listener of listeners) {
      try {
        listener(event);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
