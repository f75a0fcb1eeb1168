import { Option } from 'commander';
import type { Command } from 'commander';

import type { SessionsResult, SessionSummary } from '../protocol/http-results.ts';
import { askServer } from './administration.ts';
import { formatJson, formatTable, formatText } from './output.ts';
import { addHttpOptions } from './registry.ts';
import type { HttpOptions } from './registry.ts';

interface SessionsOptions extends HttpOptions {
  readonly app?: string;
  readonly state?: string;
  readonly behind: boolean;
}

/** Sessions asked for at a time. */
const pageSessions = 1000;
const states = ['connected', 'broken', 'held', 'leased'];

/** `sessions`. */
export function addSessionsCommand(program: Command): void {
  addHttpOptions(
    program
      .command('sessions')
      .description('list who is connected, and leases: from where, as what, with how much, how far behind with reading')
      .option('--app <name>', 'only of this application')
      .addOption(new Option('--state <state>', 'only in this state').choices(states))
      .option('--behind', 'only those that have not read what they were sent, and get no pushes', false),
  ).action(listSessions);
}

async function listSessions(options: SessionsOptions): Promise<void> {
  const sessions: SessionSummary[] = [];
  const silentThreads = new Set<number>();
  for (let cursor: string | undefined; ;) {
    const query = { limit: String(pageSessions), ...(cursor === undefined ? {} : { cursor }) };
    const page = await askServer<SessionsResult>(options, 'listSessions', { query });
    for (const session of page.sessions) if (isWanted(session, options)) sessions.push(session);
    for (const thread of page.silentThreads ?? []) silentThreads.add(thread);
    ({ cursor } = page);
    if (cursor === undefined) break;
  }
  if (options.json) console.log(formatJson({ sessions, silentThreads: [...silentThreads] }));
  else console.log(formatSessions(sessions));
  if (silentThreads.size > 0) {
    console.error(`threads ${[...silentThreads].join(', ')} did not answer in time; their sessions are not listed`);
  }
}

function isWanted(session: SessionSummary, { app, state, behind }: SessionsOptions): boolean {
  return (
    (app === undefined || session.app === app) &&
    (state === undefined || session.state === state) &&
    (!behind || session.isBehind)
  );
}

/** One row a session. What callers said of themselves is theirs, and shown as such. */
function formatSessions(sessions: readonly SessionSummary[]): string {
  return formatTable(
    ['SESSION', 'STATE', 'FROM', 'APP', 'CLIENT', 'ZONE', 'AGE', 'REGISTRATIONS', 'SUBSCRIPTIONS', 'UNREAD'],
    sessions.map((session) => [
      formatText(session.session),
      session.isBehind ? `${formatText(session.state)}, behind` : formatText(session.state),
      formatOptional(session.address),
      formatOptional(session.app),
      formatOptional(session.client),
      formatOptional(session.zone),
      formatAge(session.ageMs),
      String(session.registrations),
      String(session.subscriptions),
      String(session.unreadBytes),
    ]),
  );
}

function formatOptional(text: string | undefined): string {
  return text === undefined ? '-' : formatText(text);
}

/** `42s`, `3m12s`, `5h3m`, `2d4h`: the two largest parts. */
function formatAge(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [seconds % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first === -1) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([count], i) => i === 0 || count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join('');
}
