import type { KeyTarget, StorePort } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import type { KeyUnwatchParams, KeyWatchParams } from '../protocol/types.ts';
import type { ReadTicket, Reply } from './answers.ts';
import type { Encoding } from './encoding.ts';
import { ChangeTexts } from './key-changes.ts';
import { KeyFanOut } from './key-fan-out.ts';
import { KeyFeed } from './key-feed.ts';
import type { WatchStart } from './key-feed.ts';
import { nameInLane } from './key-requests.ts';
import { KeyAudience, KeyWatch, nameTarget } from './key-watch.ts';
import { refuseBound } from './registrar.ts';
import type { Session } from './session.ts';

export interface KeyWatchesOptions {
  readonly encoding: Encoding;
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  readonly keyWatchesMax: number;
  readonly threadKeyWatchesMax: number;
  /** Sends the answers of this turn. */
  readonly flush: () => void;
  /** Runs a task once all sockets of this turn have been read. */
  readonly schedule: (task: () => void) => void;
  /** Something was not sent: the session is behind with reading. */
  readonly onDropped: (session: Session) => void;
}

/** What the watches of a host amount to. */
export interface KeyWatchFigures {
  readonly watches: number;
  /** Changes that were sent to watches, each counted for each of them. */
  readonly changesSent: number;
  /** Times that a watch was told to read anew. */
  readonly resyncsSent: number;
}

/** A watch that has been asked for. */
interface Beginning {
  readonly watch: KeyWatch;
  readonly audience: KeyAudience;
  /** The version that its client resumes from. */
  readonly after: number | undefined;
  readonly reply: Reply;
}

/** The watches of all sessions of this host: how they begin and end, and what each is sent. A session that is behind with reading is told, once it has read, which of them are to be read anew. */
export class KeyWatches {
  readonly #options: KeyWatchesOptions;
  readonly #texts: ChangeTexts = new ChangeTexts();
  readonly #feed: KeyFeed<KeyAudience>;
  readonly #fanOut: KeyFanOut;
  /** Those that have begun, by the names of what they watch. */
  readonly #begun: Map<Session, Map<string, KeyWatch>> = new Map();
  /** Watches that wait for their answer. */
  readonly #starting: Map<Session, Set<KeyWatch>> = new Map();
  #startingCount = 0;
  /** Watches that have begun. */
  count = 0;

  constructor(options: KeyWatchesOptions) {
    this.#options = options;
    const { onDropped } = options;
    const fanOut = new KeyFanOut({
      ...options,
      texts: this.#texts,
      onDropped: ({ session }) => {
        onDropped(session);
      },
    });
    this.#fanOut = fanOut;
    this.#feed = new KeyFeed({
      schedule: options.schedule,
      onNews: (audience, news) => {
        fanOut.add(audience, news);
      },
      onMessage: (noteRead) => {
        fanOut.close(noteRead);
      },
    });
  }

  /** Changes that were sent to watches. */
  get changesSent(): number {
    return this.#fanOut.changesSent;
  }

  /** Times that a watch was told to read anew. */
  get resyncsSent(): number {
    return this.#fanOut.resyncsSent;
  }

  connectStore(port: StorePort): void {
    this.#feed.connect(port);
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    this.#feed.tick(nowMs);
  }

  watch(session: Session, params: KeyWatchParams, reply: Reply): void {
    const target = readTarget(params);
    if ('code' in target) {
      reply.fail(target);
      return;
    }
    const failure = this.#find(session, nameTarget(target)) !== undefined ? undefined : this.#judge(session);
    if (failure !== undefined) {
      reply.fail(failure);
      return;
    }
    const audience = this.#obtain(target);
    const watch = new KeyWatch(session, target);
    this.#noteStarting(watch);
    audience.pending += 1;
    this.#ask({ watch, audience, after: params.version, reply }, reply.openRead?.('query', nameInLane(target.name)));
  }

  /** Returns why there is no such watch; not having one is no error. */
  unwatch(session: Session, params: KeyUnwatchParams): Failure | undefined {
    const target = readTarget(params);
    if ('code' in target) return target;
    const name = nameTarget(target);
    for (const watch of this.#starting.get(session) ?? []) if (nameTarget(watch.target) === name) watch.end();
    const watch = this.#find(session, name);
    if (watch !== undefined) this.#leave(watch);
    return undefined;
  }

  /** The session's connection has gone. */
  unwatchAll(session: Session): void {
    for (const watch of this.#starting.get(session) ?? []) watch.end();
    for (const watch of this.#begun.get(session)?.values() ?? []) this.#leave(watch);
  }

  /** The client has read what waited for it: it is told which of its watches have missed something. */
  catchUp(session: Session): void {
    for (const watch of this.#begun.get(session)?.values() ?? []) if (watch.isStale && !this.#resync(watch)) return;
  }

  #find(session: Session, name: string): KeyWatch | undefined {
    return this.#begun.get(session)?.get(name);
  }

  #resync(watch: KeyWatch): boolean {
    this.#options.flush();
    return !watch.isStale || this.#fanOut.resync(watch);
  }

  #judge(session: Session): Failure | undefined {
    const { keyWatchesMax, threadKeyWatchesMax } = this.#options;
    const held = (this.#begun.get(session)?.size ?? 0) + (this.#starting.get(session)?.size ?? 0);
    if (held >= keyWatchesMax) {
      return refuseBound('keyWatchesMax', keyWatchesMax, `the session watches ${keyWatchesMax} keys and prefixes`);
    }
    return this.count + this.#startingCount < threadKeyWatchesMax
      ? undefined
      : refuseBound('threadKeyWatchesMax', threadKeyWatchesMax, 'sessions watch too many keys and prefixes');
  }

  #obtain(target: KeyTarget): KeyAudience {
    let audience = this.#feed.find(target);
    if (audience === undefined) {
      audience = new KeyAudience(target);
      this.#feed.add(target, audience);
    }
    return audience;
  }

  #ask(beginning: Beginning, read: ReadTicket | undefined): void {
    const { audience, after, reply } = beginning;
    const refuse = (failure: Failure): void => {
      this.#conclude(beginning);
      reply.fail(failure);
      read?.end();
      this.#dropIfEmpty(audience);
    };
    if (read?.refusal !== undefined) {
      refuse(read.refusal);
      return;
    }
    this.#feed.watch(audience.target, after, (outcome) => {
      if ('code' in outcome) {
        refuse(outcome);
        return;
      }
      const changes = after === undefined ? undefined : outcome.changes && this.#texts.join(outcome.changes);
      if (read !== undefined && changes !== undefined && changes.length > read.room) {
        const again = (): void => {
          this.#ask(beginning, read);
        };
        read.enlarge(changes.length, again, refuse);
        return;
      }
      this.#conclude(beginning);
      this.#begin(beginning, outcome, changes);
      read?.end();
      this.#dropIfEmpty(audience);
    });
  }

  #begin({ watch, audience, after, reply }: Beginning, start: WatchStart, changes: string | undefined): void {
    const { session, target } = watch;
    // What the client resumes from may be ahead of what has been told here.
    const version = start.changes === undefined ? start.version : Math.max(start.version, after ?? 0);
    reply.succeed({ kind: 'watching', version, changes, isResync: start.changes === undefined });
    // Unwatched, or gone, meanwhile: the answer still goes out.
    if (watch.isOver) return;
    const isInBatch =
      reply.defer?.(() => {
        watch.noteBatchSent();
        this.#resync(watch);
      }) ?? false;
    const name = nameTarget(target);
    audience.watches.add(watch);
    const before = this.#find(session, name);
    if (before !== undefined) this.#leave(before);
    this.#begun.set(session, (this.#begun.get(session) ?? new Map()).set(name, watch));
    watch.version = version;
    watch.newsBefore = this.#fanOut.lastNumber;
    watch.begin(isInBatch);
    this.count += 1;
  }

  #noteStarting(watch: KeyWatch): void {
    const starting = this.#starting.get(watch.session) ?? new Set();
    this.#starting.set(watch.session, starting.add(watch));
    this.#startingCount += 1;
  }

  /** It has its answer. */
  #conclude({ watch, audience }: Beginning): void {
    audience.pending -= 1;
    const starting = this.#starting.get(watch.session);
    starting?.delete(watch);
    if (starting?.size === 0) this.#starting.delete(watch.session);
    this.#startingCount -= 1;
  }

  #leave(watch: KeyWatch): void {
    const { session, target } = watch;
    watch.end();
    const begun = this.#begun.get(session);
    begun?.delete(nameTarget(target));
    if (begun?.size === 0) this.#begun.delete(session);
    const audience = this.#feed.find(target);
    audience?.watches.delete(watch);
    this.count -= 1;
    if (audience !== undefined) this.#dropIfEmpty(audience);
  }

  #dropIfEmpty(audience: KeyAudience): void {
    if (audience.isEmpty && this.#feed.find(audience.target) === audience) this.#feed.remove(audience.target);
  }
}

function readTarget({ key, prefix }: KeyUnwatchParams): KeyTarget | Failure {
  if ((key === undefined) === (prefix === undefined)) {
    return { code: 'invalid_params', message: 'either key or prefix must be given', field: '/key' };
  }
  return key === undefined ? { kind: 'prefix', name: prefix ?? '' } : { kind: 'key', name: key };
}
