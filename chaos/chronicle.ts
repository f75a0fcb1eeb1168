import { findNamed } from './evidence.ts';

/** The latest events of a run, so that a failure can show what led to it. */
export class Chronicle {
  readonly #startMs: number = performance.now();
  readonly #eventsMax = 20_000;
  #events: { atMs: number; text: string; isFault: boolean }[] = [];

  note(text: string, isFault = false): void {
    this.#events.push({ atMs: performance.now() - this.#startMs, text, isFault });
    if (this.#events.length > this.#eventsMax * 2) this.#events = this.#events.slice(-this.#eventsMax);
  }

  /** The last events that have to do with what the failure mentions, with the faults between them. */
  tellOf(failure: string, linesMax = 80): string[] {
    const { service, id } = findNamed(failure) ?? {};
    const viewer = /^in the view of (client \d+)/.exec(failure)?.[1];
    const isAbout = (text: string): boolean => service !== undefined && text.includes(` ${service} ${id} `);
    const clients = new Set(
      [failure, ...this.#events.map(({ text }) => text).filter(isAbout)].flatMap(
        (text) => text.match(/client \d+/g) ?? [],
      ),
    );
    const isRelevant = (text: string): boolean => {
      const [, client = '', what = ''] = /^(client \d+) (.*)/.exec(text) ?? [];
      if (isAbout(text)) return true;
      if (service === undefined) return clients.has(client);
      if (client === viewer && what.includes(`${service} `)) return true;
      return (
        clients.has(client) && (what.startsWith('goes') || what.startsWith('comes') || what.startsWith('is client'))
      );
    };
    return this.#events
      .filter(({ text, isFault }) => isFault || isRelevant(text))
      .slice(-linesMax)
      .map(({ atMs, text }) => `${(atMs / 1000).toFixed(3).padStart(8)} s  ${text}`);
  }
}
