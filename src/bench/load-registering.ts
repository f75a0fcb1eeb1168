import { nowMs } from './clock.ts';
import { createHistogram, packHistogram, recordMs } from './histogram.ts';
import type { Histogram } from './histogram.ts';
import type { RegisterOrder, RegisterOutcome } from './load-orders.ts';
import type { LoadSession } from './load-session.ts';
import type { LoadTraffic } from './load-traffic.ts';
import { providerOf } from './population.ts';
import { requestKinds } from './requests.ts';
import { runSchedule, waitUntil } from './schedule.ts';

/** Sessions that register at a time, each with its window: more than enough to keep a server busy. */
const registeringAtOnce = 1000;

/** Registers what the providers of one load process hold: as fast as a window lets, or on a schedule. */
export class LoadRegistering {
  readonly #traffic: LoadTraffic;
  readonly #registering: Map<LoadSession, (index: number) => void> = new Map();

  constructor(traffic: LoadTraffic) {
    this.#traffic = traffic;
  }

  async register(order: RegisterOrder): Promise<RegisterOutcome> {
    const { counters } = this.#traffic;
    const before = counters.begin();
    const [ack, lag] = [createHistogram(), createHistogram()];
    await waitUntil(order.startAtMs);
    const acks = await (order.rate > 0 ? this.#registerOnSchedule(order, ack, lag) : this.#registerAll(order, ack));
    return {
      ...counters.readTallies(before),
      acks,
      endedAtMs: nowMs(),
      ack: packHistogram(ack),
      lag: packHistogram(lag),
    };
  }

  /** Registers what a session holds, with so many requests in flight at a time; resolves with the last answer. */
  registerSession(session: LoadSession, window: number, step: number, ack: Histogram | undefined): Promise<number> {
    const { first, count } = this.#traffic.instancesOf(session);
    const total = Math.ceil(count / step);
    if (total === 0) return Promise.resolve(0);
    const sentAtMs = new Float64Array(total);
    this.#traffic.onAcknowledged = this.#routeRegistered;
    return new Promise((resolve) => {
      let next = 0;
      let acked = 0;
      const send = (): void => {
        sentAtMs[next] = nowMs();
        this.#traffic.sendRegister(session, first + next * step);
        next += 1;
      };
      this.#registering.set(session, (index) => {
        if (ack !== undefined) recordMs(ack, nowMs() - sentAtMs[(index - first) / step]!);
        acked += 1;
        if (next < total) send();
        if (acked < total) return;
        this.#registering.delete(session);
        resolve(total);
      });
      while (next < Math.min(window, total)) send();
    });
  }

  readonly #routeRegistered = (session: LoadSession, kind: number, index: number): void => {
    if (kind === requestKinds.register) this.#registering.get(session)?.(index);
  };

  async #registerAll({ window, isHalf }: RegisterOrder, ack: Histogram): Promise<number> {
    // Not all at once: a round over the sockets must not take so long that those that have nothing to do answer their pings too late.
    const rest = this.#traffic.providers.values();
    let sum = 0;
    const registerNext = async (): Promise<void> => {
      for (const session of rest) {
        const count = await this.registerSession(session, window, isHalf ? 2 : 1, ack);
        sum += count;
      }
    };
    await Promise.all(Array.from({ length: registeringAtOnce }, registerNext));
    return sum;
  }

  /** Sessions by turns, so that the whole of the load is spread over them at any time. */
  #registerOnSchedule(order: RegisterOrder, ack: Histogram, lag: Histogram): Promise<number> {
    const { plan, perProvider } = this.#traffic;
    const { population, part, parts } = plan;
    const mine: number[] = [];
    for (let turn = 0; turn < perProvider * population.providers; turn += 1) {
      const provider = turn % population.providers;
      const instance = provider * perProvider + Math.floor(turn / population.providers);
      if (provider % parts === part && instance < population.instances && providerOf(population, instance) === provider)
        mine.push(turn);
    }
    const turnOf = new Map<number, number>();
    const intendedAtMs = (item: number): number => order.startAtMs + (mine[item]! * 1000) / order.rate;
    return new Promise((resolve) => {
      let acks = 0;
      this.#traffic.onAcknowledged = (_session, kind, index) => {
        if (kind !== requestKinds.register) return;
        recordMs(ack, nowMs() - intendedAtMs(turnOf.get(index)!));
        turnOf.delete(index);
        acks += 1;
        if (acks === mine.length) resolve(acks);
      };
      if (mine.length === 0) resolve(0);
      void runSchedule(mine.length, order.rate, intendedAtMs, (item, atMs) => {
        const turn = mine[item]!;
        const instance = (turn % population.providers) * perProvider + Math.floor(turn / population.providers);
        recordMs(lag, atMs - intendedAtMs(item));
        turnOf.set(instance, item);
        this.#traffic.sendRegister(this.#traffic.providerOf(instance)!, instance);
      });
    });
  }
}
