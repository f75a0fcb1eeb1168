import { protocolLimits } from '../protocol/limits.ts';
import { hashRegistration } from '../protocol/registration-digest.ts';
import { parseServiceKey } from '../protocol/service-key.ts';
import type { ListParams, RegistrationsParams, RegistrationsResult } from '../protocol/types.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { compareBytes } from '../store/byte-order.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import { unlimitedRoom, wordResults } from './answers.ts';
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
      reply.succeed(wordResults.registrations(pageRegistrations(registrations, params)));
      read?.end();
    });
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  query(
    reader: Session | undefined,
    key: string,
    filter: string,
    reply: Reply,
    ticket?: ReadTicket,
    number: number = this.#router.drawNumber(),
  ): void {
    if (this.#router.isShut(key)) {
      this.#router.gate.wait(
        key,
        () => {
          this.query(reader, key, filter, reply, ticket, number);
        },
        (failure) => {
          reply.fail(failure);
          ticket?.end();
        },
      );
      return;
    }
    const read = ticket ?? reply.openRead?.('query', key);
    const asked = this.#router.ask(
      {
        key,
        reader,
        build: (request) => [toPartition.query, request, key, filter, read?.room ?? unlimitedRoom],
        settle: (answer) => {
          if (answer[0] === fromPartition.oversize && read !== undefined) {
            read.enlarge(
              answer[2],
              () => {
                this.query(reader, key, filter, reply, read);
              },
              (failure) => {
                reply.fail(failure);
                read.end();
              },
            );
            return;
          }
          if (answer[0] === fromPartition.state) {
            const isFilling = this.#isWarming() && reader?.understands('warming') !== false;
            reply.succeed(wordResults.state(answer[2], answer[4], isFilling));
          } else {
            reply.fail(readRefusal(answer));
          }
          read?.end();
        },
      },
      number,
    );
    if (typeof asked === 'number') return;
    reply.fail(asked);
    read?.end();
  }

  list(params: ListParams, reply: Reply): void {
    // A slot on its way would be listed by neither owner.
    if (!this.#router.gate.isOpen) {
      this.#router.gate.waitForAll(
        () => {
          this.list(params, reply);
        },
        (failure) => {
          reply.fail(failure);
        },
      );
      return;
    }
    const { namespace, prefix, limit, cursor } = params;
    const size = limit ?? protocolLimits.listLimitDefault;
    const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
    const page = new ServicePage(size);
    let refused: Answer | undefined;
    let awaited = this.#router.links().length;
    const read = reply.openRead?.('list', '');
    // Else a batch would have pages made for nothing.
    const failure =
      read?.refusal ??
      this.#router.askAll({
        key: '',
        // One more than asked for tells whether there is a next page.
        build: (request) => [toPartition.list, request, namespace ?? '', prefix ?? '', after, size + 1],
        settle: (answer) => {
          if (answer[0] === fromPartition.listed) page.add(answer[2]);
          else refused = answer;
          awaited -= 1;
          if (awaited > 0) return;
          // Wording many large pages is more than one turn has room for.
          this.#jobs.later(size, () => {
            if (refused === undefined) reply.succeed(wordResults.listed(page.read()));
            else reply.fail(readRefusal(refused));
            read?.end();
          });
        },
      });
    if (failure === undefined) return;
    reply.fail(failure);
    read?.end();
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
