import type { KeyTarget } from '../durable/commits.ts';
import type { Encoding } from './encoding.ts';
import type { ChangeTexts } from './key-changes.ts';
import type { KeyNews } from './key-feed.ts';
import type { KeyAudience, KeyWatch } from './key-watch.ts';

export interface KeyFanOutOptions {
  readonly encoding: Pick<Encoding, 'encodeKeyNews'>;
  readonly texts: ChangeTexts;
  /** Sends in one slice, after which other work has its turn, and bytes: a slice ends with the send that reaches either. */
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  /** Sends the answers of this turn: what is new must not overtake the answer that began its watch. */
  readonly flush: () => void;
  /** Runs the next slice in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** It was not sent something, since its session is behind with reading. */
  readonly onDropped: (watch: KeyWatch) => void;
}

/** News of one target on their way to those who watch it. `number`: rises with each. */
interface NewsJob {
  readonly audience: KeyAudience;
  readonly news: KeyNews;
  readonly number: number;
}

/** Or what is to be called once all before it has been passed on. */
type Job = NewsJob | (() => void);

/** Above this many members a frame is turned into bytes once, rather than by each send. */
const encodeFromMembers = 4;

/** The last hop of what is new about keys: one frame for all who watch the same, sent in slices, in the order in which it came. */
export class KeyFanOut {
  readonly #options: KeyFanOutOptions;
  #jobs: Job[] = [];
  #next = 0;
  /** Who is still to be served of the first job, and with what. */
  #members: Iterator<KeyWatch> | undefined;
  #frame: string | Uint8Array = '';
  #isScheduled = false;
  #numbers = 0;
  /** Changes that were sent to watches, and times that one was told to read anew. */
  changesSent = 0;
  resyncsSent = 0;

  constructor(options: KeyFanOutOptions) {
    this.#options = options;
  }

  /** The number of the last news. */
  get lastNumber(): number {
    return this.#numbers;
  }

  add(audience: KeyAudience, news: KeyNews): void {
    this.#numbers += 1;
    this.#jobs.push({ audience, news, number: this.#numbers });
  }

  /** All that came in one message has been added. Sends what of it fits into a slice at once. `done` is called once it has been passed on. */
  close(done: (() => void) | undefined): void {
    if (done !== undefined) this.#jobs.push(done);
    if (!this.#isScheduled) this.#runSlice();
  }

  /** Tells a watch that has missed something to read anew. Returns whether its session could take that. */
  resync(watch: KeyWatch): boolean {
    const { version, target, session } = watch;
    const delivery = session.deliver(this.#encode(target, { from: version, through: version, changes: undefined }));
    if (delivery === 'sent') {
      watch.noteResynced();
      this.resyncsSent += 1;
    } else if (delivery === 'dropped') this.#options.onDropped(watch);
    return delivery === 'sent';
  }

  #runSlice(): void {
    const { flush, schedule, sliceBytes, sliceMembers } = this.#options;
    this.#isScheduled = false;
    flush();
    const budget = { sends: sliceMembers, bytes: sliceBytes };
    while (this.#next < this.#jobs.length && budget.sends > 0 && budget.bytes > 0) {
      const job = this.#jobs[this.#next]!;
      if (typeof job === 'function') job();
      else if (!this.#serve(job, budget)) break;
      budget.sends -= 1;
      this.#next += 1;
    }
    if (this.#next * 2 >= this.#jobs.length) {
      this.#jobs = this.#jobs.slice(this.#next);
      this.#next = 0;
    }
    if (this.#jobs.length === 0) return;
    this.#isScheduled = true;
    schedule(() => {
      this.#runSlice();
    });
  }

  /** Returns whether all members have been served. */
  #serve(job: NewsJob, budget: { sends: number; bytes: number }): boolean {
    const { audience, news } = job;
    if (this.#members === undefined) {
      if (audience.watches.size === 0) return true;
      const frame = this.#encode(audience.target, news);
      this.#frame = audience.watches.size > encodeFromMembers ? Buffer.from(frame) : frame;
      // Members that come and go meanwhile may be visited or not: those that come have begun behind this.
      this.#members = audience.watches.values();
    }
    while (budget.sends > 0 && budget.bytes > 0) {
      const next = this.#members.next();
      if (next.done === true) {
        this.#members = undefined;
        this.#frame = '';
        return true;
      }
      if (next.value.newsBefore < job.number) this.#send(next.value, news, budget);
    }
    return false;
  }

  #send(watch: KeyWatch, { from, through, changes }: KeyNews, budget: { sends: number; bytes: number }): void {
    if (!watch.isLive) {
      watch.miss(through);
      return;
    }
    if (changes !== undefined && watch.version > from) {
      // It has some of this already.
      watch.miss(through);
      this.resync(watch);
      return;
    }
    budget.sends -= 1;
    budget.bytes -= this.#frame.length + watch.session.unsentBytes;
    const delivery = watch.session.deliver(this.#frame);
    if (delivery === 'sent') {
      watch.version = through;
      if (changes === undefined) this.resyncsSent += 1;
      else this.changesSent += changes.length;
    } else if (delivery === 'dropped') {
      watch.miss(through);
      this.#options.onDropped(watch);
    }
  }

  #encode(target: KeyTarget, { through, changes }: KeyNews): string {
    const { encoding, texts } = this.#options;
    return encoding.encodeKeyNews({
      target,
      version: through,
      changes: changes === undefined ? undefined : texts.join(changes),
    });
  }
}
