import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { DeregisterParams, RegisterParams } from '../protocol/types.ts';
import type { Reply, Result } from './answers.ts';
import type { CallLane } from './call-lane.ts';
import type { PersistentCalls } from './persistent-session.ts';

export interface PersistentRequestsOptions {
  readonly calls: PersistentCalls;
  /** Sends what is answered in this turn. */
  readonly flush: () => void;
}

/** What sessions register for good: the main thread does that, and later calls of a session about the service wait until it has. */
export class PersistentRequests {
  readonly #options: PersistentRequestsOptions;

  constructor(options: PersistentRequestsOptions) {
    this.#options = options;
  }

  register(lane: CallLane, params: RegisterParams, actor: Actor, reply: Reply): void {
    this.#ask(lane, serviceKey(params), reply, async () => {
      const answer = await this.#options.calls.registerPersistent(params, actor);
      return 'code' in answer ? answer : { kind: 'registered', ...answer };
    });
  }

  deregister(lane: CallLane, params: DeregisterParams, actor: Actor, reply: Reply): void {
    this.#ask(lane, serviceKey(params), reply, async () => {
      const answer = await this.#options.calls.deregisterPersistent(params, actor);
      return 'code' in answer ? answer : { kind: 'deregistered', ...answer };
    });
  }

  #ask(lane: CallLane, key: string, reply: Reply, ask: () => Promise<Result | Failure>): void {
    lane.beginChange(key);
    void ask().then((answer) => {
      if ('code' in answer) reply.fail(answer);
      else reply.succeed(answer);
      lane.endChange(key);
      this.#options.flush();
    });
  }
}
