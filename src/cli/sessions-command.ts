import { Option } from 'commander';
import type { Command } from 'commander';

import type { SessionsResult, SessionSummary } from '../protocol/http-results.ts';
import { askServer } from './administration.ts';
import { formatTable, formatText } from './output.ts';
import type { TableLook } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { formatAge, formatMs } from './quantities.ts';
import { addHttpOptions } from './registry.ts';
import type { HttpOptions } from './registry.ts';

interface SessionsOptions extends HttpOptions, OutputOptions {
  readonly app?: string;
  readonly state?: string;
  readonly behind: boolean;
}

/** Sessions asked for at a time. */
const pageSessions = 1000;
const states = ['connected', 'broken', 'held', 'leased'];

/** `sessions`. */
export function addSessionsCommand(program: Command): void {
  const command = addHttpOptions(
    program
      .command('sessions')
      .description('list who is connected, and leases: from where, as what, with how much, how far behind with reading')
      .option('--app <name>', 'only of this application')
      .addOption(new Option('--state <state>', 'only in this state').choices(states))
      .option('--behind', 'only those that have not read what they were sent, and get no pushes', false),
  );
  addOutputOption(command).action(listSessions);
}

async function listSessions(options: SessionsOptions): Promise<void> {
  const { sessions, silentThreads } = await readSessions(options, (session) => isWanted(session, options));
  await printResult(options, {
    value: { sessions, silentThreads },
    rows: sessions,
    formatTable: (look, isWide) => formatSessions(sessions, look, isWide),
  });
  if (silentThreads.length > 0) {
    console.error(`threads ${silentThreads.join(', ')} did not answer in time; their sessions are not listed`);
  }
}

/** All sessions that somebody wants, page by page. */
export async function readSessions(
  options: HttpOptions,
  isWanted: (session: SessionSummary) => boolean,
): Promise<{ readonly sessions: readonly SessionSummary[]; readonly silentThreads: readonly number[] }> {
  const sessions: SessionSummary[] = [];
  const silentThreads = new Set<number>();
  for (let cursor: string | undefined; ;) {
    const query = { limit: String(pageSessions), ...(cursor === undefined ? {} : { cursor }) };
    const page = await askServer<SessionsResult>(options, 'listSessions', { query });
    for (const session of page.sessions) if (isWanted(session)) sessions.push(session);
    for (const thread of page.silentThreads ?? []) silentThreads.add(thread);
    ({ cursor } = page);
    if (cursor === undefined) break;
  }
  return { sessions, silentThreads: [...silentThreads] };
}

function isWanted(session: SessionSummary, { app, state, behind }: SessionsOptions): boolean {
  return (
    (app === undefined || session.app === app) &&
    (state === undefined || session.state === state) &&
    (!behind || session.isBehind)
  );
}

const headings = [
  'SESSION',
  'STATE',
  'FROM',
  'APP',
  'CLIENT',
  'ZONE',
  'AGE',
  'REGISTRATIONS',
  'SUBSCRIPTIONS',
  'UNREAD',
];
const wideHeadings = ['THREAD', 'REQUESTS', 'TTL'];

/** One row a session. What callers said of themselves is theirs, and shown as such. */
function formatSessions(sessions: readonly SessionSummary[], look: TableLook, isWide: boolean): string {
  return formatTable(
    isWide ? [...headings, ...wideHeadings] : headings,
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
      ...(isWide
        ? [
            String(session.thread),
            String(session.requestsInFlight),
            session.ttlMs === undefined ? '-' : formatMs(session.ttlMs),
          ]
        : []),
    ]),
    look,
  );
}

function formatOptional(text: string | undefined): string {
  return text === undefined ? '-' : formatText(text);
}
