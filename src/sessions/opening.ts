import { anonymous } from '../access/access-check.ts';
import type { AccessCheck, Principal } from '../access/access-check.ts';
import type { ServerConfig } from '../config/config.ts';
import { capabilityNames } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolVersion, protocolVersionMin, protocolVersionUnsaid } from '../protocol/limits.ts';
import type { ResumedSession, SessionOpenParams, SessionOpenResult } from '../protocol/types.ts';
import type { ShownCredentials } from '../transport/transport.ts';
import type { Reply } from './answers.ts';
import type { ClaimNotices } from './claim-notices.ts';
import type { KeyHolding } from './key-holding.ts';
import type { Registrar } from './registrar.ts';
import type { Resumption } from './resumption.ts';
import type { SessionJournal } from './session-journal.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { StandingOrders } from './standing-orders.ts';
import type { WarmUp } from './warm-up.ts';

export interface OpeningOptions {
  readonly config: ServerConfig;
  /** Names this registry and its history. */
  readonly registry: string;
  readonly sessions: Sessions;
  readonly resumption: Resumption;
  readonly registrar: Pick<Registrar, 'remarkAll'>;
  readonly orders: Pick<StandingOrders, 'refuseCaller'>;
  readonly access: AccessCheck;
  /** Sends what has gathered. */
  readonly flush: () => void;
  readonly journal: SessionJournal;
  readonly notices: ClaimNotices;
  readonly holding: Pick<KeyHolding, 'vouch' | 'noteAcquiring'>;
  readonly warmUp: Pick<WarmUp, 'isOver' | 'noteEarlier'>;
}

/** `session.open`: who a client is, what it understands, and whether it continues with the session that it had. */
export class Opening {
  readonly #options: OpeningOptions;

  constructor(options: OpeningOptions) {
    this.#options = options;
  }

  open(session: Session, params: SessionOpenParams, reply: Reply): void {
    if (session.opened !== undefined) {
      reply.fail({ code: 'invalid_request', message: 'the session is open already' });
      return;
    }
    const { protocol = protocolVersionUnsaid } = params;
    if (protocol < protocolVersionMin) {
      reply.fail(refuseVersion(protocol));
      return;
    }
    const { name, address } = session;
    const refusal = this.#options.orders.refuseCaller({ name, address, app: params.app });
    if (refusal !== undefined) {
      reply.fail(refusal);
      return;
    }
    const { token } = params;
    if (token === undefined || session.grant === undefined) this.#begin(session, params, reply);
    else this.#authenticate(session, params, token, reply);
  }

  #authenticate(session: Session, params: SessionOpenParams, token: string, reply: Reply): void {
    const outcome = this.#options.access.authenticate(token, session.address);
    const enter = (principal: Principal | Failure): void => {
      const refusal = 'code' in principal ? principal : this.#enter(session, principal);
      if (refusal === undefined) this.#begin(session, params, reply);
      else reply.fail(refusal);
    };
    if (outcome instanceof Promise) this.#hold(session, outcome, enter);
    else enter(outcome);
  }

  /** Who has connected with these credentials; until that is known, what the session asks for waits. */
  authenticateConnection(session: Session, shown: ShownCredentials, refuse: (failure: Failure) => void): void {
    const { access } = this.#options;
    session.grant = access.grantFor(anonymous);
    const outcome = access.authenticateShown(shown, session.address);
    if (!(outcome instanceof Promise)) session.grant = access.grantFor(outcome);
    else {
      this.#hold(session, outcome, (principal) => {
        if ('code' in principal) refuse(principal);
        else session.grant = access.grantFor(principal);
      });
    }
  }

  #hold(
    session: Session,
    outcome: Promise<Principal | Failure>,
    settle: (principal: Principal | Failure) => void,
  ): void {
    session.heldUntilKnown = [];
    void outcome.then((principal) => {
      const held = session.heldUntilKnown ?? [];
      session.heldUntilKnown = undefined;
      if (session.state.kind !== 'connected') return;
      settle(principal);
      held.forEach((run) => {
        // Another of its calls may have to wait for the same: those behind it still come after it.
        if (session.heldUntilKnown === undefined) run();
        else session.heldUntilKnown.push(run);
      });
      this.#options.flush();
    });
  }

  /** Nobody becomes somebody else. */
  #enter(session: Session, principal: Principal): Failure | undefined {
    const before = session.grant?.principal ?? anonymous;
    if (before !== anonymous && before.name !== principal.name)
      return { code: 'invalid_request', message: 'the connection has shown credentials of another principal' };
    session.grant = this.#options.access.grantFor(principal);
    return undefined;
  }

  #begin(session: Session, params: SessionOpenParams, reply: Reply): void {
    const { access } = this.#options;
    const { principal } = session.grant ?? { principal: anonymous };
    if (params.resume === undefined) {
      session.opened = keepOpening(params);
      this.#answer(session, reply, undefined);
      return;
    }
    // What belongs to another principal is as if it were not there.
    const resume = access.unbind(params.resume, principal);
    if (session.hasAsked && resume !== session.secret) {
      reply.fail({ code: 'invalid_request', message: 'a session is taken over by the first request of a connection' });
      return;
    }
    session.opened = keepOpening(params);
    this.#options.resumption.begin(session, resume ?? nobodys, {
      succeed: (resumed) => {
        // Only under a name of its own: whoever else brings what is not theirs must not hold keys together with it.
        if (resumed === undefined && resume !== undefined) this.#adoptHolder(session, resume);
        this.#answer(session, reply, resumed);
      },
      fail: (failure) => {
        reply.fail(failure);
      },
    });
  }

  #bind({ secret, grant }: Session): string {
    return grant === undefined ? secret : this.#options.access.bind(secret, grant.principal);
  }

  /** After a restart of the process a session of before is not there any more, but what it held is. */
  #adoptHolder(session: Session, secret: string): void {
    const { identity } = session;
    const { warmUp } = this.#options;
    warmUp.noteEarlier();
    if (warmUp.isOver) return;
    identity.adoptHolder(secret);
    this.#options.holding.noteAcquiring(session);
    this.#options.holding.vouch(identity);
  }

  #answer(session: Session, reply: Reply, resumed: ResumedSession | undefined): void {
    this.#options.journal.noteOpened(session);
    this.#options.registrar.remarkAll(session);
    if (resumed !== undefined) {
      for (const { key, id } of session.registrations.doubtTold()) this.#options.notices.note(session, key, id);
    }
    const { config } = this.#options;
    const { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax } = config;
    const opening: SessionOpenResult = {
      session: session.name,
      heartbeatMs: this.#options.sessions.heartbeatMs,
      graceMs: config.disconnectGraceMs,
      limits: { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax },
      ...(session.understands('resume') ? { secret: this.#bind(session) } : {}),
      registry: this.#options.registry,
      warming: !this.#options.warmUp.isOver,
      protocol: Math.min(session.opened?.protocol ?? protocolVersionUnsaid, protocolVersion),
      capabilities: capabilityNames,
      ...(resumed === undefined ? {} : { resumed }),
    };
    reply.succeed({ kind: 'opened', opening });
  }
}

/** No session has such a secret. */
const nobodys = '';

/** What is kept of how a client opened its session: no credentials, and nothing that this version does not know. */
function keepOpening({ client, app, zone, protocol, capabilities }: SessionOpenParams): SessionOpenParams {
  const known = capabilities === undefined ? undefined : capabilityNames.filter((name) => capabilities.includes(name));
  return {
    client,
    ...(app === undefined ? {} : { app }),
    ...(zone === undefined ? {} : { zone }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(known === undefined ? {} : { capabilities: known }),
  };
}

function refuseVersion(protocol: number): Failure {
  const message = `the client speaks version ${protocol} of the protocol; this server speaks ${protocolVersionMin} to ${protocolVersion}`;
  return { code: 'unsupported_version', message, field: '/protocol' };
}
