import type { SessionInspection } from '../protocol/http-results.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { Sessions } from '../sessions/sessions.ts';
import { describeSession } from './session-directory.ts';
import type { DescribedOwner } from './session-host.ts';

export interface InspectSessionOptions {
  readonly thread: number;
  /** Its name. */
  readonly session: string;
  /** Of registrations, and of subscriptions. */
  readonly limit: number;
}

/** Sessions of this host among those that claim something; what is persistent has none. */
export function describeOwners(sessions: Sessions, thread: number, owners: readonly number[]): DescribedOwner[] {
  return owners.flatMap((owner): DescribedOwner[] => {
    const session = sessions.find(owner);
    return session === undefined || session.isPersistent
      ? []
      : [[owner, describeSession(session, thread, sessions.clockMs)]];
  });
}

/** What a session of this host holds; undefined: it is not here. */
export function inspectSession(
  sessions: Sessions,
  { thread, session: name, limit }: InspectSessionOptions,
): Promise<SessionInspection | undefined> {
  for (const session of sessions.all()) {
    if (session.name !== name || session.isPersistent) continue;
    const registrations = takeFirst(session.registrations.values(), limit);
    const subscriptions = takeFirst(session.subscriptions.keys(), limit);
    return Promise.resolve({
      session: describeSession(session, thread, sessions.clockMs),
      registrations: registrations.map(({ key, id, isHidden }) => ({
        ...parseServiceKey(key),
        id,
        isShown: !isHidden,
      })),
      subscriptions: subscriptions.map((key) => parseServiceKey(key)),
      more: session.registrations.size > limit || session.subscriptions.size > limit,
    });
  }
  return Promise.resolve(undefined);
}

function takeFirst<T>(all: Iterable<T>, count: number): T[] {
  const first: T[] = [];
  for (const one of all) {
    if (first.length === count) break;
    first.push(one);
  }
  return first;
}
