import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { KeyPutQuery, WaitQuery } from '../../protocol/http-operations.ts';
import { protocolLimits } from '../../protocol/limits.ts';
import type { Result } from '../../sessions/answers.ts';
import { encodeResult } from '../../sessions/json-rpc.ts';
import type { KeyCall } from '../../sessions/leases.ts';
import { waitForReply } from '../../sessions/reply-waiting.ts';
import type { Call } from '../../sessions/requests.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import { answerJson, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import { waitForChange } from './change-wait.ts';
import type { HttpCaller } from './http-caller.ts';
import type { LeaseAccess } from './lease-access.ts';
import { answerTagged } from './tagged-answer.ts';
import type { Waiters } from './waiters.ts';

export interface KeyAccessOptions {
  readonly core: SessionCore;
  readonly config: Pick<ServerConfig, 'httpAnswerBytesMax' | 'httpWaitMaxMs'>;
  readonly waiters: Waiters;
  readonly leases: Pick<LeaseAccess, 'carryOut'>;
}

type KeyRead = Extract<Call, { method: 'kv.get' | 'kv.list' }>;

/** Reads and changes keys for callers over HTTP, who hold them with leases. */
export class KeyAccess {
  readonly #options: KeyAccessOptions;

  constructor(options: KeyAccessOptions) {
    this.#options = options;
  }

  /** With an `index`, once something has changed after that commit, or when the wait is over. */
  async read(call: KeyRead, { index, wait }: WaitQuery, caller: HttpCaller): Promise<HttpAnswer | Failure> {
    if (index === undefined) return this.#read(call, caller);
    const { waiters, config } = this.#options;
    const target = call.method === 'kv.get' ? { key: call.params.key } : { prefix: call.params.prefix ?? '' };
    caller.startWaiting();
    const outcome = await waitForChange(
      { call: { method: 'kv.watch', params: { ...target, version: index } }, isChanged, wait },
      { waiters, address: caller.address, grant: caller.grant, waitMaxMs: config.httpWaitMaxMs, onGone: caller.onGone },
    );
    caller.stopWaiting();
    if (typeof outcome === 'object') return outcome;
    const refusal = caller.refuseLate();
    if (refusal !== undefined) return refusal;
    return this.#read(call, caller, outcome === 'unchanged' ? index : undefined);
  }

  /** `unchangedSince`: nothing has been heard of that has changed after it, and what has not is shown with the version that its caller has. */
  #read(call: KeyRead, caller: HttpCaller, unchangedSince?: number): Promise<HttpAnswer | Failure> {
    const { core, config } = this.#options;
    const tooLarge = refuseUnreadAnswer(config.httpAnswerBytesMax);
    return caller.pace(async (room) => {
      const result = await waitForReply(
        (reply) => {
          core.execute(undefined, call, reply);
        },
        { room, tooLarge },
      );
      if ('code' in result) return result;
      return answerTagged(encodeResult(keepVersion(result, unchangedSince)), caller);
    });
  }

  /** `bytes`: the value. */
  put(
    { acquire, release, ...params }: KeyPutQuery & { readonly key: string },
    bytes: Buffer,
    caller: HttpCaller,
  ): Promise<HttpAnswer | Failure> | Failure {
    const max = protocolLimits.keyValueBytesMax;
    if (bytes.length > max) {
      return {
        code: 'limit_exceeded',
        message: `the value has more than ${max} bytes`,
        limit: 'keyValueBytesMax',
        max,
      };
    }
    if (acquire !== undefined && release !== undefined) {
      return { code: 'invalid_params', message: 'a key is either acquired or released', field: '/release' };
    }
    const lock = acquire === undefined ? (release === undefined ? {} : { release: true }) : { acquire: true };
    const value = bytes.toString('base64');
    return this.change({ method: 'kv.put', params: { ...params, ...lock, value } }, caller, acquire ?? release);
  }

  /** `lease`: who holds what is acquired. */
  async change(call: KeyCall, { grant, actor }: HttpCaller, lease?: string): Promise<HttpAnswer | Failure> {
    if (lease === undefined) {
      const result = await waitForReply((reply) => {
        this.#options.core.execute(undefined, call, reply, actor);
      });
      return 'code' in result ? result : answerJson(encodeResult(result));
    }
    const answer = await this.#options.leases.carryOut({ kind: 'keys', lease, call, actor }, grant);
    if ('code' in answer) return answer;
    if (answer.kind !== 'keys') throw new Error(`not an answer about keys: ${answer.kind}`);
    return answerJson(JSON.stringify(answer.result));
  }
}

/** Whether the first answer to a watch says that something has changed, or that nobody knows. */
function isChanged(first: Result): boolean {
  return first.kind === 'watching' && (first.isResync || first.changes !== '[]');
}

/** Whoever was told this much waits with the same version again; if a key has gone that nobody has heard of yet, that wait is over at once. */
function keepVersion(result: Result, version: number | undefined): Result {
  if (version === undefined || result.kind !== 'keys') return result;
  const read = result.result;
  const entries = 'entries' in read ? read.entries : 'entry' in read ? [read.entry] : [];
  const isNewer = (entries ?? []).some((entry) => (entry?.modifyVersion ?? 0) > version);
  return isNewer ? result : { kind: 'keys', result: { ...read, version } };
}
