import type { Grant } from '../../access/access-check.ts';
import type { ServerConfig } from '../../config/config.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { QueryParams, SubscribeParams } from '../../protocol/types.ts';
import type { Result } from '../../sessions/answers.ts';
import { refuseDraining } from '../../sessions/dispatch.ts';
import type { Call } from '../../sessions/requests.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import type { Session } from '../../sessions/session.ts';
import type { Socket } from '../../transport/transport.ts';

export interface WaitersOptions {
  readonly core: SessionCore;
  readonly config: Pick<ServerConfig, 'httpWaitersMax' | 'reconnectSpreadMs'>;
}

/** An HTTP client that waits for changes. */
export interface Waiter {
  readonly session: Session;
  /** Answers a ping: it lives, and has taken all that it was sent. */
  pong(mark: string): void;
  /** Ends it: nothing is told any more. May be called again. */
  end(): void;
}

/** By which a caller waits for changes. */
export type WaitCall = Extract<Call, { readonly method: 'service.subscribe' | 'kv.watch' }>;

/** Callers over HTTP that wait for changes: each is a session that subscribes, or watches keys, whatever stands for its socket. */
export class Waiters {
  readonly #core: SessionCore;
  readonly #config: WaitersOptions['config'];
  readonly #all: Set<Waiter> = new Set();
  #hasEnded = false;

  constructor({ core, config }: WaitersOptions) {
    this.#core = core;
    this.#config = config;
  }

  /** Why no more callers may wait. */
  refuse(): Failure | undefined {
    const { httpWaitersMax: max, reconnectSpreadMs } = this.#config;
    if (this.#hasEnded) return refuseDraining(reconnectSpreadMs);
    if (this.#all.size < max) return undefined;
    const message = `${max} callers wait for changes`;
    return { code: 'busy', message, limit: 'httpWaitersMax', max, retryAfterMs: 1000 };
  }

  /** The server stops: nobody waits any longer, nor begins to. */
  endAll(): void {
    this.#hasEnded = true;
    for (const { session } of this.#all) session.socket?.end('going_away');
  }

  /** Subscribes, or watches, for a caller that may; resolves to the first answer. It ends when the caller's credentials do. */
  async begin(
    socket: Socket,
    call: WaitCall,
    grant: Grant,
  ): Promise<{ readonly waiter: Waiter; readonly first: Result | Failure }> {
    const core = this.#core;
    const session = core.connect(socket);
    session.opened = { client: 'http', capabilities: ['warming'] };
    if (session.grant !== undefined) session.grant = grant;
    const waiter: Waiter = {
      session,
      pong: (mark) => {
        if (this.#all.has(waiter)) core.onPong(session, mark);
      },
      end: () => {
        if (this.#all.delete(waiter)) core.disconnected(session, true);
      },
    };
    this.#all.add(waiter);
    const first = await new Promise<Result | Failure>((resolve) => {
      core.execute(session, call, { succeed: resolve, fail: resolve });
    });
    return { waiter, first };
  }
}

/** The filter and the name in what a caller asks for, without what else it says. */
export function readSubscription(
  { namespace, group, service, zone, enabledOnly, healthyOnly, selector }: QueryParams,
  more: Pick<SubscribeParams, 'mode' | 'version'>,
): SubscribeParams {
  return {
    ...(namespace === undefined ? {} : { namespace }),
    ...(group === undefined ? {} : { group }),
    service,
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === undefined ? {} : { enabledOnly }),
    ...(healthyOnly === undefined ? {} : { healthyOnly }),
    ...(selector === undefined ? {} : { selector }),
    ...more,
  };
}
