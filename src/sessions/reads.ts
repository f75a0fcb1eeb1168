import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { hashRegistration } from '../protocol/registration-digest.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { ListParams, RegistrationsParams, RegistrationsResult } from '../protocol/types.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PendingRequest } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { compareBytes } from '../store/byte-order.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { ReadTicket, Reply } from './answers.ts';
import type { HostJobs } from './host-jobs.ts';
import { ServicePage } from './service-page.ts';
import type { SessionLog } from './session-log.ts';
import type { Session } from './session.ts';

export interface ReadsOptions {
  readonly router: Router;
  readonly jobs: HostJobs;
  /** Whether those who were there before the start are still coming back. */
  readonly isWarming: () => boolean;
}

/** Answers questions: what a service has, which services there are, what a session has registered. */
export class Reads {
  readonly #router: Router;
  readonly #jobs: HostJobs;
  readonly #isWarming: () => boolean;

  constructor({ router, jobs, isWarming }: ReadsOptions) {
    this.#router = router;
    this.#jobs = jobs;
    this.#isWarming = isWarming;
  }

  /** Of a session that has many, it costs as much as taking them away: one at a time. */
  registrations({ registrations }: Session, params: RegistrationsParams, reply: Reply): void {
    const read = reply.openRead?.('registrations', '');
    this.#jobs.later(registrations.size, () => {
      reply.succeed({ kind: 'registrations', page: pageRegistrations(registrations, params) });
      read?.end();
    });
  }

  query(reader: Session | undefined, key: string, filter: string, reply: Reply): void {
    const router = this.#router;
    const isWarming = this.#isWarming;
    router.ask(new PendingQuery({ router, isWarming, reader, key, filter, reply }, undefined));
  }

  list({ namespace, prefix, limit, cursor }: ListParams, reply: Reply): void {
    const size = limit ?? protocolLimits.listLimitDefault;
    const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
    const page = new ServicePage(size);
    let read: ReadTicket | undefined;
    let refused: Answer | undefined;
    let awaited = 0;
    const refuse = (failure: Failure): void => {
      reply.fail(failure);
      read?.end();
    };
    this.#router.askAll({
      key: '',
      begin: () => {
        awaited = this.#router.links().length;
        read = reply.openRead?.('list', '');
        // Else a batch would have pages made for nothing.
        const failure = read?.refusal;
        if (failure !== undefined) refuse(failure);
        return failure === undefined;
      },
      refuse,
      // One more than requested shows whether there is a next page.
      build: (request) => [toPartition.list, request, namespace ?? '', prefix ?? '', after, size + 1],
      settle: (answer) => {
        if (answer[0] === fromPartition.listed) page.add(answer[2]);
        else refused = answer;
        awaited -= 1;
        if (awaited > 0) return;
        // Wording many large pages is more than one turn has room for.
        this.#jobs.later(size, () => {
          if (refused === undefined) reply.succeed({ kind: 'listed', page: page.read() });
          else reply.fail(readRefusal(refused));
          read?.end();
        });
      },
    });
  }
}

interface Query {
  readonly router: Router;
  readonly isWarming: () => boolean;
  /** Undefined: it is nobody's. */
  readonly reader: Session | undefined;
  readonly key: string;
  readonly filter: string;
  readonly reply: Reply;
}

/** A query in flight. */
class PendingQuery implements PendingRequest {
  isRepeated?: boolean;
  readonly key: string;
  readonly reader: Session | undefined;
  readonly #query: Query;
  /** Undefined: it has not been sent, or may bring back anything. */
  #read: ReadTicket | undefined;

  /** `read`: of one that has been sent before, and needs more room. */
  constructor(query: Query, read: ReadTicket | undefined) {
    this.key = query.key;
    this.reader = query.reader;
    this.#query = query;
    this.#read = read;
  }

  begin(): boolean {
    this.#read ??= this.#query.reply.openRead?.('query', this.key);
    return true;
  }

  build(request: number): ToPartition {
    return [toPartition.query, request, this.key, this.#query.filter, this.#read?.room ?? unlimitedRoom];
  }

  settle(answer: Answer): void {
    const { router, reader, reply } = this.#query;
    const read = this.#read;
    if (answer[0] === fromPartition.oversize && read !== undefined) {
      const again = (): void => {
        router.ask(new PendingQuery(this.#query, read));
      };
      read.enlarge(answer[2], again, (failure) => {
        this.refuse(failure);
      });
      return;
    }
    if (answer[0] === fromPartition.state) {
      const [, , version, count, list] = answer;
      const isWarming = this.#query.isWarming() && reader?.understands('warming') !== false;
      reply.succeed({ kind: 'state', version, count, list, isWarming });
    } else {
      reply.fail(readRefusal(answer));
    }
    read?.end();
  }

  refuse(failure: Failure): void {
    this.#query.reply.fail(failure);
    this.#read?.end();
  }
}

/** One page, in the order of keys and ids: O(n log n) in what the session has registered. */
function pageRegistrations(log: SessionLog, { limit, cursor }: RegistrationsParams): RegistrationsResult {
  const size = limit ?? protocolLimits.listLimitDefault;
  const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
  const names = log
    .names()
    .map(({ key, id }) => ({ key, id, place: `${key}\n${id}` }))
    .filter(({ place }) => compareBytes(place, after) > 0)
    .sort((a, b) => compareBytes(a.place, b.place));
  const page = names.slice(0, size);
  const registrations = page.map(({ key, id }) => ({
    ...parseServiceKey(key),
    id,
    hash: hashRegistration(key, log.get(key, id)?.fragment ?? ''),
  }));
  const last = page.at(-1);
  return names.length > size && last !== undefined
    ? { registrations, cursor: Buffer.from(last.place).toString('base64url') }
    : { registrations };
}
