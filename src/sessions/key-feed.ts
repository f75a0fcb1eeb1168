import type {
  KeyChange,
  KeyTarget,
  StoreNews,
  StoreNotice,
  StorePort,
  StoreReply,
  StoreRequest,
} from '../durable/commits.ts';
import { KeyTargets } from '../durable/key-targets.ts';
import { readStoreKey } from '../keys/key-row.ts';
import type { Failure } from '../protocol/errors.ts';

/** Through which version what comes next is told, and what has changed after the one that was asked from; undefined: that is not known any more. */
export interface WatchStart {
  readonly version: number;
  readonly changes: readonly KeyChange[] | undefined;
}

/** What is new about a target, to those who have been told all through `from`. */
export interface KeyNews {
  readonly from: number;
  readonly through: number;
  /** In the order of versions; undefined: they are not known any more. */
  readonly changes: readonly KeyChange[] | undefined;
}

export interface KeyFeedOptions<T> {
  /** Runs a task at the end of the turn. */
  readonly schedule: (task: () => void) => void;
  readonly onNews: (value: T, news: KeyNews) => void;
  /** All that follows from one message, or from the end of the port, has been said. `noteRead`: to be called once it has been passed on: then the store may tell more. */
  readonly onMessage: (noteRead: (() => void) | undefined) => void;
}

/** Something that the store is asked to tell of. */
interface Watched<T> {
  readonly target: KeyTarget;
  readonly value: T;
  /**
   * `asked`: nobody has been told yet from when on it is told. `lost`: the store's thread has died, or has not been asked since it is back: what has changed after a version
   * is still to be heard.
   */
  state:
    | { readonly kind: 'asked' }
    | { readonly kind: 'told' }
    | { readonly kind: 'lost'; readonly after: number; readonly isAsked: boolean };
}

const notRunning: Failure = {
  code: 'storage_unavailable',
  message: 'keys cannot be watched at present: the store is being started again',
  retryAfterMs: 500,
};
/** How many are asked for at a time when the store's thread is back: it answers others in between. */
const resumingMax = 64;
/** How long until what the store could not resume is asked for again, in milliseconds. */
const retryMs = 500;

/**
 * A host's end of what the store tells of keys: watches each target once, however many sessions do, and finds for each change whom it concerns. When the store's thread dies it
 * resumes all from the version that it has been told through, so nothing is lost in silence.
 */
export class KeyFeed<T> {
  readonly #options: KeyFeedOptions<T>;
  readonly #watched: KeyTargets<Watched<T>> = new KeyTargets();
  #port: StorePort | undefined;
  #unsent: (StoreRequest | StoreNotice)[] = [];
  #isSendScheduled = false;
  #requests = 0;
  /** Asked through the present port. */
  #asking: Map<number, (outcome: WatchStart | Failure) => void> = new Map();
  /** All that is told has been told through here. */
  #told = 0;
  /** To be resumed, and not asked for yet. */
  readonly #lost: Set<Watched<T>> = new Set();
  #resuming = 0;
  #retryAtMs = 0;

  constructor(options: KeyFeedOptions<T>) {
    this.#options = options;
  }

  /** The store can be asked through this; what was asked through the port before is not answered any more. */
  connect(port: StorePort): void {
    this.#disconnect();
    this.#port = port;
    this.#told = 0;
    port.on('message', (replies) => {
      if (this.#port !== port) return;
      let read = 0;
      for (const reply of replies) read = Math.max(read, this.#handle(reply));
      this.#options.onMessage(read === 0 ? undefined : (): void => this.#send({ kind: 'read', through: read }));
    });
    port.on('close', () => {
      if (this.#port !== port) return;
      this.#disconnect();
      this.#options.onMessage(undefined);
    });
    this.#resume();
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    if (nowMs < this.#retryAtMs) return;
    this.#retryAtMs = nowMs + retryMs;
    this.#resume();
  }

  /** The value of a target that is watched. */
  find(target: KeyTarget): T | undefined {
    return this.#watched.get(target)?.value;
  }

  /** Somebody is about to watch a target. */
  add(target: KeyTarget, value: T): void {
    this.#watched.set(target, { target, value, state: { kind: 'asked' } });
  }

  /** Nobody watches it any more. */
  remove(target: KeyTarget): void {
    if (this.#watched.delete(target)) this.#send({ kind: 'unwatch', target });
  }

  /** Asks the store to tell of a target that was added. `settle` is called before anything is told that is new to who asks. */
  watch(target: KeyTarget, after: number | undefined, settle: (outcome: WatchStart | Failure) => void): void {
    const watched = this.#watched.get(target);
    if (watched === undefined) throw new Error(`nobody watches ${target.name}`);
    if (this.#port === undefined) {
      settle(notRunning);
      return;
    }
    // Who watches already must not be told what comes after this before what came until then.
    if (watched.state.kind === 'lost' && !watched.state.isAsked) this.#resumeOne(watched);
    this.#ask(target, after, (outcome) => {
      if ('version' in outcome && watched.state.kind === 'asked') watched.state = { kind: 'told' };
      settle(outcome);
    });
  }

  /** Returns through which version the store waits for this to be read; 0: it does not. */
  #handle(reply: StoreReply | StoreNews): number {
    switch (reply.kind) {
      case 'changed':
        this.#noteChanges(reply.changes, reply.through);
        return reply.changes.length > 0 ? reply.through : 0;
      case 'missed':
        this.#noteMissed(reply.through);
        return 0;
      case 'watching':
        this.#told = Math.max(this.#told, reply.version);
        this.#settle(reply.request, reply);
        return (reply.changes?.length ?? 0) > 0 ? reply.version : 0;
      case 'refused':
        this.#settle(reply.request, reply.failure);
        return 0;
      default:
        throw new Error(`a watch was replied to with ${reply.kind}`);
    }
  }

  #noteChanges(changes: readonly KeyChange[], through: number): void {
    const from = this.#told;
    this.#told = through;
    const concerned = new Map<T, KeyChange[]>();
    for (const change of changes) {
      for (const { value, state } of this.#watched.matches(readStoreKey(change.key))) {
        // What is lost is told with what came before it.
        if (state.kind !== 'told') continue;
        const of = concerned.get(value);
        if (of === undefined) concerned.set(value, [change]);
        else of.push(change);
      }
    }
    for (const [value, of] of concerned) this.#options.onNews(value, { from, through, changes: of });
  }

  #noteMissed(through: number): void {
    const from = this.#told;
    this.#told = through;
    for (const { value, state } of this.#watched.values()) {
      if (state.kind === 'told') this.#options.onNews(value, { from, through, changes: undefined });
    }
  }

  #settle(request: number, outcome: WatchStart | Failure): void {
    const settle = this.#asking.get(request);
    this.#asking.delete(request);
    settle?.(outcome);
  }

  #disconnect(): void {
    const port = this.#port;
    if (port === undefined) return;
    this.#port = undefined;
    port.close();
    this.#unsent = [];
    this.#resuming = 0;
    this.#lost.clear();
    const after = this.#told;
    for (const watched of this.#watched.values()) {
      const { state } = watched;
      if (state.kind === 'asked') continue;
      watched.state = { kind: 'lost', after: state.kind === 'told' ? after : state.after, isAsked: false };
      this.#lost.add(watched);
    }
    const asking = [...this.#asking.values()];
    this.#asking.clear();
    for (const settle of asking) settle(notRunning);
  }

  #resume(): void {
    for (const watched of this.#lost) {
      if (this.#port === undefined || this.#resuming >= resumingMax) return;
      this.#resumeOne(watched);
    }
  }

  #resumeOne(watched: Watched<T>): void {
    const { state, target, value } = watched;
    this.#lost.delete(watched);
    // By now nobody watches it any more, or whoever came first has resumed it.
    if (this.#watched.get(target) !== watched || state.kind !== 'lost' || state.isAsked) return;
    const { after } = state;
    watched.state = { kind: 'lost', after, isAsked: true };
    this.#resuming += 1;
    this.#ask(target, after, (outcome) => {
      // The port has closed: the next one is asked for all that is lost.
      if (this.#port === undefined) return;
      this.#resuming -= 1;
      if ('version' in outcome) {
        const { version: through, changes } = outcome;
        watched.state = { kind: 'told' };
        if (changes?.length !== 0) this.#options.onNews(value, { from: after, through, changes });
        this.#resume();
      } else {
        watched.state = { kind: 'lost', after, isAsked: false };
        this.#lost.add(watched);
      }
    });
  }

  #ask(target: KeyTarget, after: number | undefined, settle: (outcome: WatchStart | Failure) => void): void {
    this.#requests += 1;
    this.#asking.set(this.#requests, settle);
    this.#send({ kind: 'watch', request: this.#requests, target, after });
  }

  #send(message: StoreRequest | StoreNotice): void {
    if (this.#port === undefined) return;
    this.#unsent.push(message);
    if (this.#isSendScheduled) return;
    this.#isSendScheduled = true;
    this.#options.schedule(() => {
      this.#isSendScheduled = false;
      const messages = this.#unsent;
      this.#unsent = [];
      if (messages.length > 0) this.#port?.postMessage(messages);
    });
  }
}
