import type { Failure } from '../protocol/errors.ts';
import type { KeyChangeEvent, KeysChanged, KeyWatchParams, KeyWatchResult } from '../protocol/types.ts';
import type { Ticket } from './entries.ts';
import { RequestError } from './errors.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';
import { Watcher } from './watch-entries.ts';
import type { KeyNews, Unwatch, WatchEntry, WatchTarget } from './watch-entries.ts';

/** What the watch of a lock's key says; no news: the watch has begun, or is not to be had. */
export interface LockNews {
  readonly key: string;
  readonly news: KeyNews | 'begun' | 'refused';
}

function nameOf(target: WatchTarget): string {
  return 'key' in target ? `key ${target.key}` : `prefix ${target.prefix}`;
}

function findOrCreate(step: Step, target: WatchTarget): WatchEntry {
  const { watches } = step.tables;
  const name = nameOf(target);
  const known = watches.get(name);
  if (known !== undefined) return known;
  const entry: WatchEntry = {
    kind: 'watch',
    name,
    target,
    watchers: new Set(),
    phase: { kind: 'unsent' },
    isForeign: false,
  };
  watches.set(name, entry);
  return entry;
}

/** A call of a user. The watcher's ticket is settled once changes are told, from its version on. */
export function createWatcher(
  step: Step,
  call: { readonly target: WatchTarget; readonly version: number | undefined; readonly ticket: Ticket },
): Watcher {
  const { target, version, ticket } = call;
  return new Watcher(findOrCreate(step, target), { version, ticket });
}

/** Begins to tell a watcher what changes. */
export function watch(step: Step, watcher: Watcher): void {
  const { entry } = watcher;
  entry.watchers.add(watcher);
  if (entry.phase.kind !== 'live') {
    request(step, entry);
    return;
  }
  const toldThrough = readVersion([...entry.watchers].filter((each) => each !== watcher));
  if (toldThrough !== undefined && (watcher.version ?? toldThrough) >= toldThrough) {
    watcher.version ??= toldThrough;
    settle(step, watcher);
  } else restart(step, entry);
}

/** The key of a lock is watched: for what comes after a version, or from now on, and then that it begins is told when an answer is there. */
export function watchForLock(step: Step, key: string, version?: number): Watcher {
  const watcher = new Watcher(findOrCreate(step, { key }), { isLock: true, version });
  const { entry } = watcher;
  if (version === undefined && entry.phase.kind === 'live') {
    entry.watchers.add(watcher);
    restart(step, entry);
  } else watch(step, watcher);
  return watcher;
}

/** Nobody looks any more. */
export function unwatch(step: Step, watcher: Watcher): void {
  const { entry } = watcher;
  if (!entry.watchers.delete(watcher) || entry.watchers.size > 0) return;
  step.tables.watches.delete(entry.name);
  if (entry.phase.kind === 'sent' || entry.phase.kind === 'live') {
    step.enqueue({ kind: 'unwatch', target: entry.target });
  }
}

function request(step: Step, entry: WatchEntry): void {
  if (entry.phase.kind === 'unsent' || entry.phase.kind === 'postponed') restart(step, entry);
}

function restart(step: Step, entry: WatchEntry): void {
  if (!step.isServing) {
    entry.phase = { kind: 'unsent' };
    return;
  }
  entry.phase = { kind: 'queued' };
  step.enqueue(entry);
}

/** What all have been told; undefined if somebody has not been told anything yet. */
function readVersion(watchers: Iterable<Watcher>): number | undefined {
  let lowest: number | undefined;
  for (const { version } of watchers) {
    if (version !== undefined) lowest = Math.min(lowest ?? version, version);
  }
  return lowest;
}

export function isWatched(step: Step, entry: WatchEntry): boolean {
  return step.tables.watches.get(entry.name) === entry;
}

export function watchParams(entry: WatchEntry): KeyWatchParams {
  const version = readStart(entry);
  return { ...entry.target, ...(version === undefined ? {} : { version }) };
}

function readStart({ isForeign, watchers }: WatchEntry): number | undefined {
  return isForeign ? undefined : readVersion(watchers);
}

/** It goes out now. */
export function noteWatchSent(entry: WatchEntry): void {
  entry.phase = { kind: 'sent', from: readStart(entry), isFresh: entry.isForeign };
}

export function acceptWatch(step: Step, entry: WatchEntry, result: KeyWatchResult): readonly LockNews[] {
  const { phase } = entry;
  if (!isWatched(step, entry) || phase.kind !== 'sent') return [];
  entry.phase = { kind: 'live' };
  entry.isForeign = false;
  const { version, changes = [], resync = false } = result;
  const { from = phase.isFresh ? 0 : Infinity } = phase;
  const forLocks: LockNews[] = [];
  let isBehind = false;
  for (const watcher of entry.watchers) {
    if (watcher.version === undefined) {
      watcher.version = version;
      if (watcher.isLock) forLocks.push({ key: lockKeyOf(entry), news: 'begun' });
    } else if (watcher.version < from) {
      // It has come while this was on its way, and knows less.
      isBehind = true;
      continue;
    } else {
      const news = tell(step, watcher, { version, changes: resync || phase.isFresh ? undefined : changes });
      if (news !== undefined) forLocks.push(news);
    }
    settle(step, watcher);
  }
  if (isBehind) restart(step, entry);
  return forLocks;
}

/** A notification came. Before the answer to a watch it is one of the watch that it replaces, of which everything is told again. */
export function handleKeysChanged(step: Step, params: KeysChanged): readonly LockNews[] {
  const target: WatchTarget = params.key === undefined ? { prefix: params.prefix ?? '' } : { key: params.key };
  const entry = step.tables.watches.get(nameOf(target));
  if (entry?.phase.kind !== 'live') return [];
  const { version, changes = [], resync = false } = params;
  const forLocks: LockNews[] = [];
  for (const watcher of entry.watchers) {
    const news = tell(step, watcher, { version, changes: resync ? undefined : changes });
    if (news !== undefined) forLocks.push(news);
  }
  return forLocks;
}

function lockKeyOf({ target }: WatchEntry): string {
  if ('key' in target) return target.key;
  throw new Error('no lock is of a prefix');
}

/** Tells a watcher what it has not been told yet. */
function tell(step: Step, watcher: Watcher, { version, changes }: KeyNews): LockNews | undefined {
  const before = watcher.version ?? 0;
  if (changes !== undefined && version <= before) return undefined;
  watcher.version = version;
  const unseen: readonly KeyChangeEvent[] | undefined = changes?.filter(({ modifyVersion }) => modifyVersion > before);
  if (unseen?.length === 0) return undefined;
  const news: KeyNews = { version, changes: unseen };
  if (watcher.isLock) return { key: lockKeyOf(watcher.entry), news };
  step.effects.push({ kind: 'keysChanged', watcher, news });
  return undefined;
}

function settle(step: Step, watcher: Watcher): void {
  const { ticket } = watcher;
  if (ticket === undefined) return;
  watcher.ticket = undefined;
  step.resolve(ticket, { kind: 'watching', watcher });
}

/** Those who have been told something before are told again as soon as that is possible; a call that has just been made is not kept waiting by a refusal for good. */
export function refuseWatch(step: Step, entry: WatchEntry, failure: Failure): readonly LockNews[] {
  if (!isWatched(step, entry)) return [];
  if (isRetryable(failure) || failure.code === 'storage_unavailable') {
    retryLater(step, entry, step.waitAfter(failure));
    return [];
  }
  const forLocks: LockNews[] = [];
  for (const watcher of entry.watchers) {
    const { ticket, isLock } = watcher;
    if (!isLock && ticket === undefined) continue;
    entry.watchers.delete(watcher);
    if (isLock) forLocks.push({ key: lockKeyOf(entry), news: 'refused' });
    if (ticket !== undefined) step.reject(ticket, new RequestError(failure));
  }
  if (entry.watchers.size === 0) step.tables.watches.delete(entry.name);
  else {
    const what = { kind: 'watch', ...entry.target } as const;
    step.effects.push({ kind: 'notify', notice: { kind: 'refused', what, error: new RequestError(failure) } });
    retryLater(step, entry, step.inputs.settings.backoffMaxMs);
  }
  return forLocks;
}

function retryLater(step: Step, entry: WatchEntry, waitMs: number): void {
  const retryAtMs = step.nowMs + waitMs;
  entry.phase = { kind: 'postponed', retryAtMs };
  step.wakeForRetry(retryAtMs);
}

/** Nothing was heard of it: it is asked again. */
export function repeatWatch(step: Step, entry: WatchEntry): void {
  if (isWatched(step, entry) && entry.phase.kind === 'sent') restart(step, entry);
}

/** Ends a watch now that could not be ended before; unless the user has come to want it again meanwhile. */
export function repeatUnwatch(step: Step, operation: Unwatch): void {
  if (!step.tables.watches.has(nameOf(operation.target))) step.enqueue(operation);
}

/** The session is lost, or another takes its place. */
export function resetWatches(step: Step): void {
  for (const entry of step.tables.watches.values()) entry.phase = { kind: 'unsent' };
}

/** There is a session. */
export function resumeWatches(step: Step, isForeign: boolean): void {
  for (const entry of step.tables.watches.values()) {
    entry.isForeign ||= isForeign;
    restart(step, entry);
  }
}

export function handleWatchTimers(step: Step): void {
  for (const entry of step.tables.watches.values()) {
    const { phase } = entry;
    if (phase.kind !== 'postponed') continue;
    if (phase.retryAtMs > step.nowMs) step.wakeForRetry(phase.retryAtMs);
    else restart(step, entry);
  }
}
