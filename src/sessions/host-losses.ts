import { lossEntriesMax } from './loss-messages.ts';
import type { CountedService, GuardOrders, LossReport, Verdict } from './loss-messages.ts';

/** Why an instance is in its session's log no more. */
export type DropCause =
  /** The session, or another one that took it over, said so. */
  | 'asked'
  /** The session is lost, and no guard held it back. */
  | 'lost';

/** An instance that came into a session's log, or left it. */
export interface LogChange {
  readonly key: string;
  readonly id: string;
  /** The session is a connection, and this was its first registration, or its last. */
  readonly isEdge: boolean;
}

export interface HostLossesOptions {
  readonly host: number;
  /** Keys the hashes of names, the same for all hosts. */
  readonly seed: string;
  readonly report: (report: LossReport) => void;
  readonly schedule: (task: () => void) => void;
}

/** How many instances the host holds of one service. */
interface HeldService {
  readonly key: string;
  total: number;
  /** The guard wants to know. */
  isTracked: boolean;
}

/** How many registrations of each service of a missing session are still to be reported. */
interface PartlyReported {
  readonly session: number;
  readonly rest: Map<string, number>;
}

/**
 * What one host knows of losses: which of its sessions are missing, and, for the guard on the main thread, what becomes of them. While nothing is lost it
 * only counts; what it has to say of losses gathers, and is said once in each tick, in bounded messages.
 */
export class HostLosses {
  readonly #options: HostLossesOptions;
  readonly #seed: number;
  readonly #services: Map<string, HeldService> = new Map();
  /** Connections that hold registrations. */
  #sessions = 0;
  #sessionsTold = 0;
  readonly #tracked: Set<HeldService> = new Set();
  /** Tracked services whose total is to be reported. */
  readonly #untold: Set<HeldService> = new Set();
  /** Hashed names to look out for. */
  readonly #watched: Set<number> = new Set();
  /** Missing sessions that the guard knows of. */
  readonly #reported: Set<number> = new Set();
  /** Missing sessions that it does not know of yet, with how to read the service of each registration. */
  readonly #unreported: Map<number, () => Iterable<string>> = new Map();
  /** A missing session of which the guard knows a part. */
  #partly: PartlyReported | undefined;
  #changes: Map<number, Map<string, number>> = new Map();
  #removed: Map<number, Map<string, number[]>> = new Map();
  #returned: number[] = [];
  readonly #back: Set<number> = new Set();
  /** Missing sessions that are to be judged, and those of them that the guard has been asked about, with the number of the question. */
  readonly #due: Map<number, number> = new Map();
  readonly #asked: Map<number, number> = new Map();
  #serial = 0;
  #question = 0;
  /** Since the last report: names, for which there must not be too many in one. */
  #namesUntold = 0;
  #isFlushing = false;
  #isScheduled = false;

  constructor(options: HostLossesOptions) {
    this.#options = options;
    this.#seed = hashText(options.seed, 0);
  }

  /** A session registered an instance that it did not hold. */
  noteRegistered(session: number, { key, id, isEdge }: LogChange): void {
    if (isEdge) this.#sessions += 1;
    this.#countInstance(this.#service(key), 1);
    if (this.#watched.size > 0) {
      const name = this.#nameOf(key, id);
      if (this.#watched.delete(name)) {
        this.#returned.push(name);
        this.#noteName();
      }
    }
    // It was asked for before the connection broke, and had to wait.
    if (this.#reported.size > 0 && this.#reported.has(session)) this.#noteChange(session, key, 1);
  }

  /** A session holds an instance no more. */
  noteDropped(session: number, { key, id, isEdge }: LogChange, cause: DropCause): void {
    if (isEdge) this.#sessions -= 1;
    const service = this.#service(key);
    this.#countInstance(service, -1);
    this.#prune(service);
    if (this.#reported.size === 0 || !this.#reported.has(session)) return;
    if (cause === 'asked') this.#noteChange(session, key, -1);
    else this.#noteRemoved(session, key, id);
  }

  /** A connection broke. `readKeys`: the service of each of its registrations, when there is time to read them. */
  noteMissing(session: number, readKeys: () => Iterable<string>): void {
    this.#unreported.set(session, readKeys);
  }

  /** A missing session continues, with all that it holds. */
  noteBack(session: number): void {
    this.#due.delete(session);
    this.#asked.delete(session);
    this.#forgetPart(session);
    if (this.#unreported.delete(session) || !this.#reported.delete(session)) return;
    this.#changes.delete(session);
    this.#removed.delete(session);
    this.#back.add(session);
  }

  /** A session is over, and holds nothing any more. */
  noteEnded(session: number): void {
    this.#forgetPart(session);
    this.#unreported.delete(session);
    this.#due.delete(session);
    this.#asked.delete(session);
    this.#reported.delete(session);
  }

  /** The time of a missing session is over: asks what of it stays. Until the answer comes, all does. */
  ask(session: number): void {
    if (this.#asked.has(session)) return;
    this.#serial += 1;
    this.#asked.set(session, this.#serial);
    this.#due.set(session, this.#serial);
  }

  /** Notes what the guard wants to know. Returns those of its verdicts that are still to be carried out; {@link flush} is to follow. */
  obey({ isUnwatchingAll, track, untrack, watch, unwatch, verdicts, ask }: GuardOrders): readonly Verdict[] {
    if (isUnwatchingAll) this.#watched.clear();
    for (const key of untrack) this.#untrack(this.#service(key));
    for (const key of track) this.#track(this.#service(key));
    for (const name of unwatch) this.#watched.delete(name);
    for (const name of watch) this.#watched.add(name);
    this.#question = Math.max(this.#question, ask);
    return verdicts.filter(({ session, serial }) => {
      // One that is back has been forgotten, and one that broke again asks again.
      if (this.#asked.get(session) !== serial) return false;
      this.#asked.delete(session);
      return true;
    });
  }

  /** Says what there is to say. Much of it in several messages, a turn each. */
  flush(): void {
    // If the guard is on the same thread, its orders arrive during the report.
    if (this.#isFlushing || this.#isScheduled) return;
    this.#isFlushing = true;
    while (this.#hasNews && !this.#isScheduled) {
      this.#options.report(this.#compose());
      if (this.#isBehind) this.#continueLater();
    }
    this.#isFlushing = false;
  }

  get #hasNews(): boolean {
    return (
      this.#partly !== undefined ||
      this.#unreported.size + this.#changes.size + this.#removed.size + this.#returned.length > 0 ||
      this.#back.size + this.#due.size + this.#untold.size + this.#question > 0 ||
      (this.#tracked.size > 0 && this.#sessions !== this.#sessionsTold)
    );
  }

  /** More is left than goes into one message. */
  get #isBehind(): boolean {
    return this.#hasUnreported || this.#untold.size > 0 || this.#due.size > 0;
  }

  get #hasUnreported(): boolean {
    return this.#unreported.size > 0 || this.#partly !== undefined;
  }

  #continueLater(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  #compose(): LossReport {
    const keys = new Keys();
    const back = [...this.#back];
    this.#back.clear();
    const changes: CountedLoss[] = [...this.#changes].map(([session, byKey]) => ({
      session,
      services: keys.count(byKey),
    }));
    this.#changes = new Map();
    const removed = [...this.#removed].map(([session, byKey]) => ({
      session,
      services: [...byKey].map(([key, names]) => ({ service: keys.number(key), names })),
    }));
    this.#removed = new Map();
    const returned = this.#returned;
    this.#returned = [];
    this.#namesUntold = 0;
    const { missing, left } = this.#drainMissing(keys, changes);
    const due = this.#drainDue(left);
    const totals = this.#drainTotals(keys);
    this.#sessionsTold = this.#sessions;
    const answers = this.#isBehind ? 0 : this.#question;
    if (answers > 0) this.#question = 0;
    const { host } = this.#options;
    return {
      host,
      keys: keys.names,
      back,
      missing,
      changes,
      removed,
      returned,
      due,
      totals,
      sessions: this.#sessions,
      answers,
    };
  }

  /** What goes into one message, and for how much more it has room; of a session that has much, the rest comes later as changes. */
  #drainMissing(keys: Keys, changes: CountedLoss[]): { readonly missing: CountedLoss[]; readonly left: number } {
    const missing: CountedLoss[] = [];
    let left = lossEntriesMax;
    while (left > 0 && this.#hasUnreported) {
      const isBegun = this.#partly !== undefined;
      if (!isBegun) left -= this.#beginReport();
      const { session, rest } = this.#partly!;
      const part = takeFirst(rest, lossEntriesMax);
      left -= 1 + part.size;
      (isBegun ? changes : missing).push({ session, services: keys.count(part) });
      if (rest.size === 0) this.#partly = undefined;
    }
    return { missing, left };
  }

  /** Reads what the next missing session holds. Returns how many registrations that is. */
  #beginReport(): number {
    const [session, readKeys] = this.#unreported.entries().next().value!;
    this.#unreported.delete(session);
    this.#reported.add(session);
    const rest = new Map<string, number>();
    let count = 0;
    for (const key of readKeys()) {
      rest.set(key, (rest.get(key) ?? 0) + 1);
      count += 1;
    }
    this.#partly = { session, rest };
    return count;
  }

  #forgetPart(session: number): void {
    if (this.#partly?.session === session) this.#partly = undefined;
  }

  #drainDue(max: number): LossReport['due'] {
    const due: LossReport['due'][number][] = [];
    // The guard must know of what it judges.
    if (this.#hasUnreported) return due;
    for (const [session, serial] of this.#due) {
      if (due.length >= max) break;
      this.#due.delete(session);
      due.push({ session, serial });
    }
    return due;
  }

  #drainTotals(keys: Keys): CountedService[] {
    const totals: CountedService[] = [];
    for (const service of this.#untold) {
      if (totals.length >= lossEntriesMax) break;
      this.#untold.delete(service);
      totals.push({ service: keys.number(service.key), count: service.total });
    }
    return totals;
  }

  #noteChange(session: number, key: string, change: number): void {
    const partly = this.#partly;
    const untold = partly?.session === session ? partly.rest.get(key) : undefined;
    if (partly !== undefined && untold !== undefined) {
      if (untold + change > 0) partly.rest.set(key, untold + change);
      else partly.rest.delete(key);
      return;
    }
    let byKey = this.#changes.get(session);
    if (byKey === undefined) {
      byKey = new Map();
      this.#changes.set(session, byKey);
    }
    byKey.set(key, (byKey.get(key) ?? 0) + change);
    this.#noteName();
  }

  #noteRemoved(session: number, key: string, id: string): void {
    let byKey = this.#removed.get(session);
    if (byKey === undefined) {
      byKey = new Map();
      this.#removed.set(session, byKey);
    }
    const names = byKey.get(key);
    const name = this.#nameOf(key, id);
    if (names === undefined) byKey.set(key, [name]);
    else names.push(name);
    this.#noteName();
  }

  /** What waits for the next tick must fit into one message. */
  #noteName(): void {
    this.#namesUntold += 1;
    if (this.#namesUntold >= lossEntriesMax) this.#continueLater();
  }

  #countInstance(service: HeldService, change: number): void {
    service.total += change;
    if (service.isTracked) this.#untold.add(service);
  }

  #track(service: HeldService): void {
    service.isTracked = true;
    this.#tracked.add(service);
    this.#untold.add(service);
  }

  #untrack(service: HeldService): void {
    service.isTracked = false;
    this.#tracked.delete(service);
    this.#untold.delete(service);
    this.#prune(service);
  }

  #service(key: string): HeldService {
    let service = this.#services.get(key);
    if (service === undefined) {
      service = { key, total: 0, isTracked: false };
      this.#services.set(key, service);
    }
    return service;
  }

  #prune(service: HeldService): void {
    if (service.total <= 0 && !service.isTracked) this.#services.delete(service.key);
  }

  /** A hash of 53 bits, the most that a number holds. */
  #nameOf(key: string, id: string): number {
    const low = hashText(id, hashText(key, this.#seed));
    const high = hashText(id, hashText(key, ~this.#seed));
    return (high & 0x1f_ffff) * 0x1_0000_0000 + low;
  }
}

type CountedLoss = LossReport['missing'][number];

/** Takes the first entries out, so many at most. */
function takeFirst(counts: Map<string, number>, max: number): Map<string, number> {
  const first = new Map<string, number>();
  for (const [key, count] of counts) {
    if (first.size === max) break;
    counts.delete(key);
    first.set(key, count);
  }
  return first;
}

/** Services of one message, each named once. */
class Keys {
  readonly names: string[] = [];
  readonly #numbers: Map<string, number> = new Map();

  number(key: string): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.names.push(key) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  count(counts: ReadonlyMap<string, number>): CountedService[] {
    return [...counts].map(([key, count]) => ({ service: this.number(key), count }));
  }
}

/** FNV-1a over UTF-16 code units, with the finalizer of MurmurHash3: 32 bits. */
function hashText(text: string, seed: number): number {
  let hash = seed ^ 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
