import type { VNode } from 'preact';
import { useMemo, useState } from 'preact/hooks';

import type { SessionInspection, SessionsResult, SessionSummary } from '../protocol/http-results.ts';
import { ActMenu } from './act-menu.tsx';
import type { Act } from './act.ts';
import { callApi, withQuery } from './api.ts';
import { useConfirm } from './confirming.tsx';
import { whenPrincipalChanges } from './credentials.ts';
import { countOf, formatBytes, formatCount, formatDuration, nameOf } from './format.ts';
import { Poller, usePoller } from './poller.ts';
import { quarantineClient, switchClientOff } from './rare-acts.ts';
import { linkTo } from './route.ts';
import { SearchField } from './search-field.tsx';
import { VirtualList } from './virtual-list.tsx';

/** Sessions that are kept, and how many come at a time. */
const sessionsMax = 20_000;
const pageSize = 1000;
const holdingsMax = 500;

interface Sessions {
  readonly sessions: readonly SessionSummary[];
  readonly hasMore: boolean;
  readonly silentThreads: readonly number[];
}

async function readSessions(): Promise<Sessions> {
  const sessions: SessionSummary[] = [];
  const silent = new Set<number>();
  let cursor: string | undefined;
  do {
    const page = await callApi<SessionsResult>(withQuery('/v1/sessions', { limit: pageSize, cursor }));
    for (const session of page.sessions) sessions.push(session);
    for (const thread of page.silentThreads ?? []) silent.add(thread);
    ({ cursor } = page);
  } while (cursor !== undefined && sessions.length < sessionsMax);
  return { sessions, hasMore: cursor !== undefined, silentThreads: [...silent] };
}

const sessionsPoller: Poller<Sessions> = new Poller(readSessions, 2000);
whenPrincipalChanges(() => {
  sessionsPoller.forget();
});

export function SessionsPage({ subject }: { readonly subject: string }): VNode {
  const { value, error } = usePoller(sessionsPoller);
  const [query, setQuery] = useState('');
  const found = useMemo(() => {
    const words = query.toLowerCase().split(/\s+/);
    return (value?.sessions ?? []).filter((session) => {
      const { session: name, app = '', address, client = '', zone = '', state, isBehind } = session;
      const text = `${name} ${app} ${address} ${client} ${zone} ${state} ${isBehind ? 'behind' : ''}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
  }, [value, query]);
  const all = value?.sessions ?? [];
  const behind = all.filter(({ isBehind }) => isBehind).length;
  return (
    <>
      <header class="page-head">
        <h1>Sessions</h1>
        <SearchField label="Search sessions" value={query} onChange={setQuery} />
        <p class="figures" role="status">
          {error === undefined
            ? `${countOf(all.length, 'session')}${query === '' ? '' : `, ${formatCount(found.length)} found`} · ${formatCount(behind)} behind`
            : error.message}
          {value?.hasMore === true ? ` · only the first ${formatCount(sessionsMax)} are read` : ''}
          {(value?.silentThreads.length ?? 0) > 0 ? ` · without thread ${value?.silentThreads.join()}` : ''}
        </p>
      </header>
      <div class="split">
        <VirtualList
          label="Sessions"
          kind="sessions"
          columns={['Application', 'State', 'Address', 'Age', 'Registered', 'Subscribed', 'Unread']}
          rowHeights={[36, 58]}
          count={found.length}
          keyOf={(row) => found[row]?.session ?? ''}
          classOf={(row) => (found[row]?.session === subject ? 'selected' : '')}
          onOpen={(row) => {
            location.hash = linkTo('sessions', found[row]?.session);
          }}
          empty={value === undefined ? (error?.message ?? 'Reading…') : 'No sessions.'}
          renderRow={(row) => {
            const session = found[row];
            return session === undefined ? null : <SessionCells session={session} />;
          }}
        />
        {subject === '' ? (
          <aside class="detail vacant" aria-label="Session">
            <p>Choose a session to see what it holds.</p>
          </aside>
        ) : (
          <SessionDetail key={subject} name={subject} />
        )}
      </div>
    </>
  );
}

function SessionCells({ session }: { readonly session: SessionSummary }): VNode {
  const { app, client, state, address, ageMs, registrations, subscriptions, unreadBytes, isBehind } = session;
  return (
    <>
      <span role="gridcell" class="name">
        {app ?? client ?? session.session}
        <span class="dim"> {session.zone ?? ''}</span>
      </span>
      <span role="gridcell" class="badges">
        <span class={`badge ${state === 'connected' || state === 'leased' ? 'plain' : 'warn'}`}>{state}</span>
        {isBehind ? <span class="badge off">behind</span> : null}
      </span>
      <span role="gridcell">{address}</span>
      <span role="gridcell" class="number">
        {formatDuration(ageMs)}
      </span>
      <span role="gridcell" class="number">
        {formatCount(registrations)}
      </span>
      <span role="gridcell" class="number">
        {formatCount(subscriptions)}
      </span>
      <span role="gridcell" class="number">
        {formatBytes(unreadBytes)}
      </span>
    </>
  );
}

function SessionActs({ session }: { readonly session: SessionSummary }): VNode {
  const confirm = useConfirm();
  const { app, address } = session;
  const ofApp: readonly (readonly [string, Act])[] =
    app === undefined
      ? []
      : [
          [`Switch off app ${app}…`, switchClientOff({ app })],
          [`Quarantine app ${app}…`, quarantineClient({ app })],
        ];
  return (
    <div class="buttons">
      <button
        type="button"
        onClick={() => {
          confirm(switchClientOff({ session: session.session }));
        }}
      >
        Switch off…
      </button>
      <ActMenu
        acts={[
          ...ofApp,
          [`Switch off address ${address}…`, switchClientOff({ address })],
          [`Quarantine address ${address}…`, quarantineClient({ address })],
        ]}
      />
    </div>
  );
}

function SessionDetail({ name }: { readonly name: string }): VNode {
  const poller = useMemo(
    () =>
      new Poller(
        () => callApi<SessionInspection>(withQuery('/v1/inspection/session', { session: name, limit: holdingsMax })),
        2000,
      ),
    [name],
  );
  const { value, error } = usePoller(poller);
  const { registrations = [], subscriptions = [], session } = value ?? {};
  const facts: readonly (readonly [string, string])[] =
    session === undefined
      ? []
      : [
          ['State', session.state],
          ['Address', session.address],
          ['Library', session.client ?? '–'],
          ['Zone', session.zone ?? '–'],
          ['Age', formatDuration(session.ageMs)],
          ['Thread', String(session.thread)],
          ['In flight', countOf(session.requestsInFlight, 'request')],
          ['Unread', `${formatBytes(session.unreadBytes)}${session.isBehind ? ', behind' : ''}`],
        ];
  return (
    <aside class="detail" aria-label="Session">
      <h2>
        {session?.app ?? name}
        <a class="close" href={linkTo('sessions')} aria-label="Close">
          ✕
        </a>
      </h2>
      <p class="dim mono">{name}</p>
      {session === undefined ? null : <SessionActs session={session} />}
      {error === undefined ? null : <p class="failure">{error.message}</p>}
      <dl>
        {facts.map(([fact, text]) => (
          <div key={fact}>
            <dt>{fact}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <h3>Registered</h3>
      <ul>
        {registrations.map(({ namespace, group, service, id, isShown }) => (
          <li key={`${namespace}/${group}/${service} ${id}`}>
            <a href={linkTo('services', `${namespace}/${group}/${service}`)}>
              {nameOf(`${namespace}/${group}/${service}`)}
            </a>{' '}
            {id}
            {isShown ? '' : ' (hidden by a later claim)'}
          </li>
        ))}
      </ul>
      <h3>Subscribed</h3>
      <ul>
        {subscriptions.map(({ namespace, group, service }) => (
          <li key={`${namespace}/${group}/${service}`}>
            <a href={linkTo('services', `${namespace}/${group}/${service}`)}>
              {nameOf(`${namespace}/${group}/${service}`)}
            </a>
          </li>
        ))}
      </ul>
      {value?.more === true ? <p class="dim">It holds more than is listed here.</p> : null}
    </aside>
  );
}
