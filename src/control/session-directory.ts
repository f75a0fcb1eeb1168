import type { SessionsQuery } from '../protocol/http-operations.ts';
import type { RemovedClaim, SessionsResult, SessionSummary } from '../protocol/http-results.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { Session } from '../sessions/session.ts';
import type { Sessions } from '../sessions/sessions.ts';
import { sessionsPerHostMax } from '../workers/session-numbers.ts';
import type { SessionHost, ListedSession } from './session-host.ts';

/** Sessions looked at before other work has its turn. */
const sliceSessions = 5000;
/** How long a host may take to answer, in milliseconds, before the page continues without it. */
const answerTimeoutMs = 1000;

/** Sessions of one host with places above `after`, `limit` at most, in the order in which they came. */
export async function listSessions(
  sessions: Sessions,
  thread: number,
  after: number,
  limit: number,
  nextTurn: () => Promise<void>,
): Promise<ListedSession[]> {
  const listed: ListedSession[] = [];
  let seen = 0;
  for (const session of sessions.all()) {
    if (listed.length === limit) break;
    const place = thread * sessionsPerHostMax + session.arrival;
    if (place > after && !session.isPersistent)
      listed.push([place, describeSession(session, thread, sessions.clockMs)]);
    seen += 1;
    if (seen % sliceSessions === 0) await nextTurn();
  }
  return listed;
}

/** Who a session is, as far as an operator may know. */
export function describeCaller({ name, state, address, opened, app }: Session): RemovedClaim {
  const client = opened?.client;
  return {
    session: name,
    // What another connection has taken over, and what is persistent, is not among those that are listed.
    state: state.kind === 'resumed' || state.kind === 'persistent' ? 'ended' : state.kind,
    address,
    ...(client === undefined ? {} : { client }),
    ...(app === undefined ? {} : { app }),
  };
}

/** What an operator may know of a session: neither its secret nor, of a lease, the lease. */
export function describeSession(session: Session, thread: number, clockMs: number): SessionSummary {
  const { state, opened, consumption } = session;
  const { zone } = opened ?? {};
  const { session: name, ...caller } = describeCaller(session);
  return {
    session: name,
    thread,
    ...caller,
    ...(zone === undefined ? {} : { zone }),
    ageMs: Math.max(0, Math.round(clockMs - session.createdAtMs)),
    ...(state.kind === 'leased' ? { ttlMs: state.ttlMs } : {}),
    registrations: session.registrations.size,
    subscriptions: session.subscriptions.size,
    requestsInFlight: session.requestsInFlight,
    unreadBytes: consumption.unconsumedBytes,
    isBehind: consumption.isBehind,
  };
}

/** All sessions of the process, a page at a time, host by host. */
export class SessionDirectory {
  readonly #hosts: readonly SessionHost[];
  /** Hosts that have been asked and have not answered: they are not asked again meanwhile, so questions do not pile up. */
  readonly #silent: Set<SessionHost> = new Set();

  constructor(hosts: readonly SessionHost[]) {
    this.#hosts = hosts;
  }

  async read({ limit, cursor }: SessionsQuery): Promise<SessionsResult> {
    const size = limit ?? protocolLimits.listLimitDefault;
    const after = Number(cursor ?? 0);
    const listed: ListedSession[] = [];
    const silentThreads: number[] = [];
    for (const host of this.#hosts) {
      // All of its places are behind the cursor.
      if ((host.number + 1) * sessionsPerHostMax <= after) continue;
      // One more than requested shows whether there is a next page.
      const more = await this.#ask(host, after, size + 1 - listed.length);
      if (more === undefined) silentThreads.push(host.number);
      else for (const session of more) listed.push(session);
      if (listed.length > size) break;
    }
    const page = listed.slice(0, size);
    const [last] = page.at(-1) ?? [];
    return {
      sessions: page.map(([, session]) => session),
      ...(silentThreads.length === 0 ? {} : { silentThreads }),
      ...(listed.length > size && last !== undefined ? { cursor: String(last) } : {}),
    };
  }

  async #ask(host: SessionHost, after: number, limit: number): Promise<ListedSession[] | undefined> {
    if (this.#silent.has(host)) return undefined;
    const answer = host.readSessions(after, limit);
    let timer: NodeJS.Timeout | undefined;
    const over = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => {
        // It is not asked again before it has answered: what hangs gets no more to do.
        this.#silent.add(host);
        const forgive = (): void => void this.#silent.delete(host);
        answer.then(forgive, forgive);
        resolve(undefined);
      }, answerTimeoutMs);
    });
    try {
      return await Promise.race([answer, over]);
    } finally {
      clearTimeout(timer);
    }
  }
}
