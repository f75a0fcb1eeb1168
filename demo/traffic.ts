import { nowMs } from './messages.ts';

/** One request that was sent to the gateway. */
export interface Sample {
  readonly sentAtMs: number;
  readonly isOk: boolean;
  /** Why not, as the first that failed said. */
  readonly failure: string;
  /** The instances that took part, gateway first. */
  readonly path: readonly string[];
}

/** A steady stream of requests to one address, each sent at its time whatever became of those before. */
export class Traffic {
  readonly samples: Sample[] = [];
  readonly #url: string;
  readonly #timer: NodeJS.Timeout;
  readonly #underWay: Set<Promise<void>> = new Set();

  constructor(url: string, perSecond: number) {
    this.#url = url;
    this.#timer = setInterval(() => {
      const request = this.#request();
      this.#underWay.add(request);
      void request.finally(() => this.#underWay.delete(request));
    }, 1000 / perSecond);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#underWay);
  }

  async #request(): Promise<void> {
    const sentAtMs = nowMs();
    try {
      const response = await fetch(this.#url, { signal: AbortSignal.timeout(2000) });
      const body = await response.text();
      this.samples.push({
        sentAtMs,
        isOk: response.ok,
        failure: response.ok ? '' : body,
        path: response.ok ? body.split(' ') : [],
      });
    } catch {
      // The gateway itself could not be reached: a failed call like any other.
      this.samples.push({ sentAtMs, isOk: false, failure: 'the gateway did not answer', path: [] });
    }
  }
}
