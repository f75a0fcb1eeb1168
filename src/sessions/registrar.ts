import type { ServerConfig } from '../config/config.ts';
import type { Failure } from '../protocol/errors.ts';
import { replaceHealth } from '../protocol/instance-encoding.ts';
import type { EncodedInstance } from '../protocol/instance-encoding.ts';
import type { Health } from '../protocol/types.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PendingRequest } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { markInstance, offMark, takeMarkOff } from '../store/instance-mark.ts';
import type { InstanceMark } from '../store/instance-mark.ts';
import { readId } from '../store/instance-table.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { Reply } from './answers.ts';
import type { ClaimNotices } from './claim-notices.ts';
import type { DefaultWeights } from './default-weights.ts';
import type { DropCause, HostLosses } from './host-losses.ts';
import type { NamespaceLimits } from './namespace-limits.ts';
import type { HeldRegistration, HostLog, Registration, RegistrationName } from './session-log.ts';
import type { Session } from './session.ts';
import { markBy } from './standing-orders.ts';
import type { Orders, StandingOrders } from './standing-orders.ts';

export interface RegistrarOptions {
  readonly router: Router;
  readonly losses: HostLosses;
  readonly log: HostLog;
  readonly weights: DefaultWeights;
  readonly config: Pick<ServerConfig, 'registrationsMax' | 'instanceBytesMax'>;
  /** A session holds something that had held nothing. */
  readonly onHolding?: ((session: Session) => void) | undefined;
  readonly orders: StandingOrders;
  readonly namespaceLimits: NamespaceLimits;
  /** Tells clients how what they registered stands among other sessions' claims. */
  readonly notices: Pick<ClaimNotices, 'note'>;
}

/** Registers and deregisters for sessions, and keeps each session's log of what it holds: what partitions are rebuilt from. */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #router: Router;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#router = options.router;
  }

  register(session: Session, key: string, instance: EncodedInstance, reply: Reply): void {
    this.#router.ask(new PendingRegister(this, session, key, this.#options.weights.fill(key, instance), reply));
  }

  /** What operators have ordered for an instance of a session. */
  markOf(session: Session, fragment: string): InstanceMark {
    return markBy(this.#options.orders.present, session, fragment);
  }

  /** An instance as partitions hold it. */
  markFor(session: Session, fragment: string): string {
    return markInstance(fragment, this.markOf(session, fragment));
  }

  /** What operators have ordered for a registration may be another thing than its owner knows. */
  remark(session: Session, { key, id, fragment, stamp }: Registration): void {
    this.#router.tell(key, [toPartition.remark, session.number, key, id, this.markFor(session, fragment), stamp]);
  }

  /** Who the session is has changed, or what is known of that: so may what was ordered for it. */
  remarkAll(session: Session): void {
    if (this.#options.orders.present.off.length === 0) return;
    for (const registration of session.registrations.values()) this.remark(session, registration);
  }

  /** A session reports how an instance is that it has registered. */
  reportHealth(session: Session, key: string, id: string, health: Health, reply: Reply): void {
    this.#router.ask(new PendingReport(this, session, { key, id, health }, reply));
  }

  /** Why the log cannot take a registration. One that it knows may always change to one of at most its length; what is persistent has a bound of its own. */
  judge(session: Session, key: string, instance: EncodedInstance): Failure | undefined {
    return this.#judgeRoom(session, key, instance) ?? this.#options.namespaceLimits.judge(session, key);
  }

  #judgeRoom({ registrations, isPersistent }: Session, key: string, instance: EncodedInstance): Failure | undefined {
    const { id, fragment } = instance;
    const { log, config } = this.#options;
    const { registrationsMax, instanceBytesMax } = config;
    const isFull = registrations.size >= registrationsMax && !isPersistent;
    const hasRoom = log.table.hasRoom(fragment, instanceBytesMax);
    if (!isFull && hasRoom) return undefined;
    const known = registrations.get(key, id);
    if (known !== undefined && (hasRoom || known.fragment.length >= fragment.length)) return undefined;
    if (isFull && known === undefined)
      return refuseBound('registrationsMax', registrationsMax, `the session has ${registrationsMax} registrations`);
    return refuseBound('instanceBytesMax', instanceBytesMax, `sessions hold ${instanceBytesMax} bytes of instances`);
  }

  deregister(session: Session, key: string, id: string, reply: Reply): void {
    this.#router.ask(new PendingDeregister(this, session, key, id, reply));
  }

  /** The session has ended, or is lost: the owner takes away what is still the session's own (SE1). */
  withdraw(session: Session, { key, id }: RegistrationName, cause: DropCause): void {
    session.identity.hasWithdrawn = true;
    this.#router.tell(key, [toPartition.withdraw, session.number, key, id]);
    this.drop(session, key, id, cause);
  }

  /** Takes a registration out of its session's log. */
  drop(session: Session, key: string, id: string, cause: DropCause = 'asked'): void {
    const { registrations } = session;
    if (!registrations.delete(key, id) || session.isPersistent) return;
    this.#options.namespaceLimits.note(session.number, key, -1);
    const isEdge = session.isConnection && registrations.size === 0;
    this.#options.losses.noteDropped(session.number, { key, id, isEdge }, cause);
  }

  /** Puts a registration into its session's log. Returns the one that it replaces. */
  keep(session: Session, registration: Registration): HeldRegistration | undefined {
    const { registrations } = session;
    const before = registrations.set(registration);
    // What is persistent is never lost, so no guard counts it.
    if (before !== undefined || session.isPersistent) return before;
    this.#options.namespaceLimits.note(session.number, registration.key, 1);
    const isFirst = registrations.size === 1;
    const isEdge = session.isConnection && isFirst;
    this.#options.losses.noteRegistered(session.number, { key: registration.key, id: registration.id, isEdge });
    if (isFirst) this.#options.onHolding?.(session);
    return undefined;
  }

  /**
   * Puts back what a session has of an instance, since its newer registration was refused. What was said of it while that was in flight concerned a registration
   * that the log did not have, so the client may believe anything.
   */
  putBack(session: Session, registration: HeldRegistration): void {
    const { key, id, isHidden } = registration;
    this.keep(session, { ...registration, fragment: takeMarkOff(registration.fragment) });
    session.registrations.noteHidden(key, id, isHidden);
    session.registrations.noteDoubt(key, id);
  }

  /** Puts in what the owner holds for the session, whose host lost its log. */
  takeBack(session: Session, registration: HeldRegistration): void {
    const { key, id, isHidden, stamp } = registration;
    // It has been registered again meanwhile.
    if ((session.registrations.stampOf(key, id) ?? stamp) > stamp) return;
    const fragment = takeMarkOff(registration.fragment);
    this.keep(session, { ...registration, fragment });
    session.registrations.noteHidden(key, id, isHidden);
    if (this.markFor(session, fragment) !== registration.fragment) this.remark(session, { ...registration, fragment });
  }

  /** Takes the first registrations out of the log of a session that goes to another host: at most so many, and about this many characters. */
  takeOut(session: Session, countMax: number, charactersMax: number): (string | number)[] {
    const fields: (string | number)[] = [];
    for (const { key, id, fragment, stamp, standing } of session.registrations.head(countMax, charactersMax)) {
      fields.push(key, fragment, stamp, standing);
      this.drop(session, key, id);
    }
    return fields;
  }

  /** Puts in what was taken out on another host. Partitions hear nothing, unless operators have ordered something else since: to them it is the same session. */
  putIn(session: Session, fields: readonly (string | number)[], before: Orders): void {
    for (let i = 0; i < fields.length; i += 4) {
      const [key, fragment] = [String(fields[i]), String(fields[i + 1])];
      const id = readId(fragment);
      const { registrations } = session;
      registrations.setMoved({ key, id, fragment, stamp: Number(fields[i + 2]), standing: Number(fields[i + 3]) });
      this.#options.namespaceLimits.note(session.number, key, 1);
      this.#options.losses.noteRegistered(session.number, { key, id, isEdge: registrations.size === 1 });
      if (markBy(before, session, fragment) === this.markOf(session, fragment)) continue;
      this.remark(session, { key, id, fragment, stamp: Number(fields[i + 2]) });
    }
  }

  /** A registration has been answered, and it has been said meanwhile how it stands among other sessions' claims. */
  tellStanding(session: Session, { key, id }: RegistrationName): void {
    this.#options.notices.note(session, key, id);
  }
}

/**
 * What a session asked for that has ended while that waited for its slot, or continues over another connection, is not done any more: whoever took it over has
 * been told what it holds without this.
 */
function isOver({ state }: Session): boolean {
  return state.kind === 'ended' || state.kind === 'resumed';
}

export const sessionEnded: Failure = { code: 'internal', message: 'the session has ended' };

/** A registration in flight. */
export class PendingRegister implements PendingRequest {
  isRepeated?: boolean;
  readonly key: string;
  readonly session: Session;
  readonly id: string;
  /** What the session's log held before: what a read that came earlier must find, if both have to be sent again. */
  before: HeldRegistration | undefined;
  /** It has been said already how it stands among other sessions' claims. */
  isContested = false;
  protected readonly registrar: Registrar;
  readonly #instance: EncodedInstance;
  protected readonly reply: Reply;

  constructor(registrar: Registrar, session: Session, key: string, instance: EncodedInstance, reply: Reply) {
    this.registrar = registrar;
    this.key = key;
    this.session = session;
    this.id = instance.id;
    this.#instance = instance;
    this.reply = reply;
  }

  get isDurable(): boolean {
    return this.session.isPersistent;
  }

  /** The log takes the registration when it is sent: a session that ends before the answer must still take it away. */
  begin(request: number): boolean {
    const { session, key, id } = this;
    const failure = isOver(session) ? sessionEnded : this.registrar.judge(session, key, this.#instance);
    if (failure !== undefined) {
      this.reply.fail(failure);
      return false;
    }
    session.identity.noteAsked();
    this.before = this.registrar.keep(session, { key, id, fragment: this.#instance.fragment, stamp: request });
    return true;
  }

  build(request: number): ToPartition {
    const { session, key, id } = this;
    const fragment = this.registrar.markFor(session, this.#instance.fragment);
    return [toPartition.register, request, session.number, key, id, fragment];
  }

  refuse(failure: Failure): void {
    this.reply.fail(failure);
  }

  /** Its session has ended: nobody waits for the answer. */
  abandon(): void {
    this.reply.fail(sessionEnded);
  }

  settle(answer: Answer): void {
    const { session, key, id } = this;
    if (answer[0] === fromPartition.applied) {
      this.succeed(answer[2]);
    } else this.handleRefusal(answer);
    if (this.isContested) this.registrar.tellStanding(session, { key, id });
    session.identity.noteAnswered();
  }

  protected succeed(version: number): void {
    const isOff = this.registrar.markOf(this.session, this.#instance.fragment) === offMark;
    this.reply.succeed({ kind: 'registered', version, id: this.id, weight: this.#instance.givenWeight, isOff });
  }

  protected handleRefusal(answer: Answer): void {
    const failure = readRefusal(answer);
    const { session, key, id } = this;
    const [, request, , , , , fragment, stamp] = answer as Extract<
      Answer,
      [typeof fromPartition.refused, ...unknown[]]
    >;
    // What was given up after deaths has been restored from the log. Else whatever of it is in the log is this attempt.
    if (failure.code !== 'internal' && session.registrations.stampOf(key, id) === request) {
      if (fragment === '') this.registrar.drop(session, key, id);
      else {
        this.registrar.putBack(session, { key, id, fragment, stamp, isHidden: stamp !== request });
        this.isContested = true;
      }
    }
    this.reply.fail(failure);
  }
}

/** A report of health in flight: what is registered changes its content, and keeps its stamp. */
class PendingReport extends PendingRegister {
  readonly #health: Health;
  #stamp = 0;

  constructor(
    registrar: Registrar,
    session: Session,
    { key, id, health }: RegistrationName & { readonly health: Health },
    reply: Reply,
  ) {
    super(registrar, session, key, { id, fragment: '', hasWeight: true }, reply);
    this.#health = health;
  }

  override begin(): boolean {
    const { session, key, id } = this;
    const before = session.registrations.get(key, id);
    if (isOver(session) || before === undefined) {
      this.reply.fail(before === undefined ? notRegistered(id) : sessionEnded);
      return false;
    }
    session.identity.noteAsked();
    this.before = before;
    this.#stamp = before.stamp;
    this.#note();
    return true;
  }

  override build(request: number): ToPartition {
    return [toPartition.reportHealth, request, this.session.number, this.key, this.id, this.#health];
  }

  protected override succeed(version: number): void {
    // A registration that was in flight before may have been refused, so that the log has what was there before it.
    this.#note();
    this.reply.succeed({ kind: 'reported', version });
  }

  /** What has been registered since says itself how it is. */
  #note(): void {
    const { session, key, id } = this;
    const registration = session.registrations.get(key, id);
    if (registration === undefined || registration.stamp > this.#stamp) return;
    session.registrations.revise(key, id, replaceHealth(registration.fragment, this.#health));
  }

  /** The owner has dropped the claim, and says so by itself. */
  protected override handleRefusal(answer: Answer): void {
    this.reply.fail(readRefusal(answer));
  }
}

function notRegistered(id: string): Failure {
  return { code: 'not_found', message: `the session has not registered ${JSON.stringify(id)}` };
}

/** A deregistration in flight. */
export class PendingDeregister implements PendingRequest {
  isRepeated?: boolean;
  readonly key: string;
  readonly session: Session;
  /** What the session's log held before; a partition that is rebuilt before the answer must have it, to take it away. */
  before: HeldRegistration | undefined;
  readonly id: string;
  readonly #registrar: Registrar;
  readonly #reply: Reply;

  constructor(registrar: Registrar, session: Session, key: string, id: string, reply: Reply) {
    this.#registrar = registrar;
    this.key = key;
    this.session = session;
    this.id = id;
    this.#reply = reply;
  }

  get isDurable(): boolean {
    return this.session.isPersistent;
  }

  begin(): boolean {
    const { session, key, id } = this;
    if (isOver(session)) {
      this.#reply.fail(sessionEnded);
      return false;
    }
    session.identity.noteAsked();
    this.before = session.registrations.get(key, id);
    this.#registrar.drop(session, key, id);
    return true;
  }

  build(request: number): ToPartition {
    return [toPartition.deregister, request, this.session.number, this.key, this.id];
  }

  refuse(failure: Failure): void {
    this.#reply.fail(failure);
  }

  /** Its session has ended: nobody waits for the answer. */
  abandon(): void {
    this.#reply.fail(sessionEnded);
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) this.#reply.succeed({ kind: 'deregistered', version: answer[2] });
    else this.#reply.fail(readRefusal(answer));
    this.session.identity.noteAnswered();
  }
}

export function refuseBound(limit: string, max: number, message: string): Failure {
  return { code: 'limit_exceeded', message, limit, max };
}
