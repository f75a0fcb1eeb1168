import { ThreadSampler } from '../runtime/thread-gauges.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import { tickMs } from '../sessions/host-clock.ts';

/** The one timer of the main thread, from when the server listens. It also measures how late it is. */
export class Ticker {
  readonly #gauges: ThreadGauges;
  readonly #tick: (nowMs: number) => void;
  #stop: () => void = () => undefined;

  constructor(gauges: ThreadGauges, tick: (nowMs: number) => void) {
    this.#gauges = gauges;
    this.#tick = tick;
  }

  start(): void {
    const sampler = new ThreadSampler(this.#gauges, tickMs);
    const timer = setInterval(() => {
      sampler.sample();
      this.#tick(performance.now());
    }, tickMs);
    this.#stop = () => {
      clearInterval(timer);
      sampler.stop();
    };
  }

  stop(): void {
    this.#stop();
  }
}
