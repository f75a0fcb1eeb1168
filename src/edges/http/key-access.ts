import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { KeyPutQuery } from '../../protocol/http-operations.ts';
import { protocolLimits } from '../../protocol/limits.ts';
import { encodeResult } from '../../sessions/json-rpc.ts';
import type { KeyCall, LeaseAnswer, LeaseCall } from '../../sessions/leases.ts';
import { waitForReply } from '../../sessions/reply-waiting.ts';
import type { Call } from '../../sessions/requests.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import { answerJson, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import type { HttpCaller } from './http-caller.ts';

export interface KeyAccessOptions {
  readonly core: SessionCore;
  readonly config: Pick<ServerConfig, 'httpAnswerBytesMax'>;
  /** Whichever host holds the lease carries it out. */
  readonly carryOutLease: (call: LeaseCall) => Promise<LeaseAnswer>;
}

/** Reads and changes keys for callers over HTTP, who hold them with leases. */
export class KeyAccess {
  readonly #options: KeyAccessOptions;

  constructor(options: KeyAccessOptions) {
    this.#options = options;
  }

  read(call: Extract<Call, { method: 'kv.get' | 'kv.list' }>, caller: HttpCaller): Promise<HttpAnswer | Failure> {
    const { core, config } = this.#options;
    const tooLarge = refuseUnreadAnswer(config.httpAnswerBytesMax);
    return caller.pace(async (room) => {
      const result = await waitForReply(
        (reply) => {
          core.execute(undefined, call, reply);
        },
        { room, tooLarge },
      );
      return 'code' in result ? result : answerJson(encodeResult(result));
    });
  }

  /** `bytes`: the value. */
  put(
    { acquire, release, ...params }: KeyPutQuery & { readonly key: string },
    bytes: Buffer,
  ): Promise<HttpAnswer | Failure> | Failure {
    const max = protocolLimits.keyValueBytesMax;
    if (bytes.length > max) {
      return { code: 'limit_exceeded', message: `the value has ${bytes.length} bytes`, limit: 'keyValueBytesMax', max };
    }
    if (acquire !== undefined && release !== undefined) {
      return { code: 'invalid_params', message: 'a key is either acquired or released', field: '/release' };
    }
    const lock = acquire === undefined ? (release === undefined ? {} : { release: true }) : { acquire: true };
    const value = bytes.toString('base64');
    return this.change({ method: 'kv.put', params: { ...params, ...lock, value } }, acquire ?? release);
  }

  /** `lease`: who holds what is acquired. */
  async change(call: KeyCall, lease?: string): Promise<HttpAnswer | Failure> {
    if (lease === undefined) {
      const result = await waitForReply((reply) => {
        this.#options.core.execute(undefined, call, reply);
      });
      return 'code' in result ? result : answerJson(encodeResult(result));
    }
    const answer = await this.#options.carryOutLease({ kind: 'keys', lease, call });
    if ('code' in answer) return answer;
    if (answer.kind !== 'keys') throw new Error(`not an answer about keys: ${answer.kind}`);
    return answerJson(JSON.stringify(answer.result));
  }
}
