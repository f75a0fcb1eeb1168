import type { Answer, PendingRequest, Unasked } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { ClaimNotices } from './claim-notices.ts';
import type { Registrar } from './registrar.ts';
import { PendingRegister } from './registrar.ts';
import type { RegistrationName } from './session-log.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

type ClaimRecord = Extract<Unasked, [typeof fromPartition.claim, ...unknown[]]>;

export interface ContestedClaimsOptions {
  readonly router: Router;
  readonly registrar: Pick<Registrar, 'drop'>;
  readonly sessions: Pick<Sessions, 'find' | 'endEmptied'>;
  readonly notices: Pick<ClaimNotices, 'note'>;
  readonly counters: Counters;
}

/** What sessions claim that others claim, too (SE7): what partitions say of it, and what lost sessions leave to others. */
export class ContestedClaims {
  readonly #options: ContestedClaimsOptions;

  constructor(options: ContestedClaimsOptions) {
    this.#options = options;
  }

  /**
   * Other sessions have registered an instance that this one has, or no longer do. If this one has registered it again meanwhile, the stamp differs, and
   * more will be heard.
   */
  handle([, number, key, id, stamp, state, limit]: ClaimRecord): void {
    const { sessions, registrar, counters } = this.#options;
    const session = sessions.find(number);
    if (session?.registrations.stampOf(key, id) !== stamp) return;
    if (state === 'dropped') {
      registrar.drop(session, key, id);
      counters.countLimit(limit, session);
    } else {
      session.registrations.noteHidden(key, id, state === 'hidden');
      this.#noteClaim(session, { key, id }, stamp);
      if (state === 'hidden' && isLost(session)) this.giveUp(session, { key, id });
    }
    sessions.endEmptied(session);
  }

  /** What a partition says of a claim may overtake its answer to the registration, which goes another way to a session that has travelled. */
  #noteClaim(session: Session, { key, id }: RegistrationName, stamp: number): void {
    const { router, notices } = this.#options;
    // While the slot is frozen, its answer may be to come from the partition's next life.
    router.whenThawed([key], () => {
      const request = router.findRequest(stamp);
      if (request instanceof PendingRegister) request.isContested = true;
      else notices.note(session, key, id);
    });
  }

  /**
   * Another session has it now, most likely the client itself that is back: what a lost session left behind must not come up again. If it has by the time
   * that its owner hears of this, it is held back like all that the session has.
   */
  giveUp(session: Session, { key, id }: RegistrationName): void {
    this.#options.router.ask(new PendingGiveUp(this, session, key, id));
  }

  /** The owner has ended what was given up: the session may have nothing left. */
  noteGivenUp(session: Session, { key, id }: RegistrationName, request: number): void {
    const { sessions, registrar } = this.#options;
    // What waited for its slot may have been registered since.
    if ((session.registrations.stampOf(key, id) ?? request) < request) registrar.drop(session, key, id);
    // It may continue over another connection by now.
    sessions.endEmptied(sessions.find(session.number));
  }
}

/** Through its grace a session may be taken over, with all that it claims; one that a guard holds back, or has just judged, has had that time. */
function isLost({ state, isGoing }: Session): boolean {
  return state.kind === 'held' || (state.kind === 'broken' && isGoing);
}

/** What a lost session claims is to end if another session's claim hides it. */
class PendingGiveUp implements PendingRequest {
  readonly key: string;
  readonly #claims: ContestedClaims;
  readonly #session: Session;
  readonly #id: string;

  constructor(claims: ContestedClaims, session: Session, key: string, id: string) {
    this.#claims = claims;
    this.#session = session;
    this.key = key;
    this.#id = id;
  }

  /** By the time that its slot is open its client may be back, and so may what it claims. */
  begin(): boolean {
    const { registrations, identity } = this.#session;
    const isDue =
      isLost(this.#session) &&
      registrations.has(this.key, this.#id) &&
      registrations.standingOf(this.key, this.#id).isHidden;
    if (isDue) identity.noteAsked();
    return isDue;
  }

  build(request: number): ToPartition {
    return [toPartition.giveUp, request, this.#session.number, this.key, this.#id];
  }

  /** A rebuilt partition reports the state of contested claims again. */
  abandon(): void {
    this.#session.identity.noteAnswered();
  }

  settle(answer: Answer): void {
    const [kind, request, isGivenUp] = answer;
    if (kind === fromPartition.applied && isGivenUp === 1)
      this.#claims.noteGivenUp(this.#session, { key: this.key, id: this.#id }, request);
    this.#session.identity.noteAnswered();
  }
}
