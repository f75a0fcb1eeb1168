import { createDeferred } from '../runtime/deferred.ts';
import { Deadline } from './deadline.ts';

/** How long an address is believed that a name has resolved to, in milliseconds, and how many are. */
const nameMs = 30_000;
const namesMax = 20_000;
/** Names that the system is asked about at a time, or has in its queue. */
const askedMax = 10_000;

/** What a name has resolved to, and the time that is left. */
export interface FoundAddress {
  readonly address: string;
  readonly leftMs: number;
}

export interface NameResolverOptions {
  readonly lookup: (host: string) => Promise<{ readonly address: string }>;
  /** Monotonic, in milliseconds. */
  readonly readMs: () => number;
}

/** What names of instances resolve to. The system cannot be told to give up on a name, and asks about few at a time: so each is asked about once at a time, however many probes wait for it. */
export class NameResolver {
  readonly #options: NameResolverOptions;
  readonly #known: Map<string, { readonly address: string; readonly untilMs: number }> = new Map();
  readonly #asked: Map<string, Promise<string>> = new Map();

  constructor(options: NameResolverOptions) {
    this.#options = options;
  }

  /** The address that is judged is the one that is asked, whatever the name resolves to next. Undefined: it takes too long. */
  async find(host: string, timeoutMs: number): Promise<FoundAddress | undefined> {
    const known = this.#known.get(host);
    if (known !== undefined && known.untilMs > this.#options.readMs())
      return { address: known.address, leftMs: timeoutMs };
    const { promise: late, resolve: giveUp } = createDeferred<undefined>();
    const deadline = new Deadline(timeoutMs, () => {
      giveUp(undefined);
    });
    try {
      const address = await Promise.race([this.#ask(host), late]);
      return address === undefined ? undefined : { address, leftMs: deadline.leftMs };
    } finally {
      deadline.cancel();
    }
  }

  #ask(host: string): Promise<string> {
    const asked = this.#asked.get(host);
    if (asked !== undefined) return asked;
    if (this.#asked.size >= askedMax) return Promise.reject(new Error('too many names are being resolved'));
    const { lookup, readMs } = this.#options;
    const answer = lookup(host)
      .then(({ address }) => {
        if (this.#known.size >= namesMax) this.#known.clear();
        this.#known.set(host, { address, untilMs: readMs() + nameMs });
        return address;
      })
      .finally(() => {
        this.#asked.delete(host);
      });
    // Whoever waited may have given up.
    answer.catch(() => undefined);
    this.#asked.set(host, answer);
    return answer;
  }
}
