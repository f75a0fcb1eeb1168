import type { AuditRecord } from '../audit/audit-record.ts';
import type { AuditTrail } from '../audit/audit-trail.ts';
import type { ServerConfig } from '../config/config.ts';
import type { DurableStore, DurableWrite } from '../durable/commits.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { encodeInstance } from '../protocol/instance-encoding.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type {
  DeclarationBody,
  DeclarationQuery,
  ServiceDeclaration,
  ServiceSettings,
} from '../protocol/service-declaration.ts';
import { parseServiceKey, serviceKey } from '../protocol/service-key.ts';
import type {
  DeregisterParams,
  DeregisterResult,
  Instance,
  InstanceInput,
  RegisterParams,
  RegisterResult,
} from '../protocol/types.ts';
import type { CheckRules } from '../sessions/check-rules.ts';
import type { Applied, PersistentCalls, PersistentSession } from '../sessions/persistent-session.ts';
import { digestFragment } from '../workers/fragment-digest.ts';
import type { InstanceName, PersistentFinding } from '../workers/journal-loader.ts';
import type { Hosts } from './hosts.ts';
import { readInstance, readSettings, storeRows, writeInstance, writeSettings } from './persistent-rows.ts';
import type { InstanceRow } from './persistent-rows.ts';
import type { RegistryGuard } from './registry-guard.ts';
import { ServiceTurns } from './service-turns.ts';

/** What callers do with declared services. */
export interface DeclarationCalls {
  declareService(service: string, body: DeclarationBody, actor: Actor): Promise<ServiceDeclaration | Failure>;
  readDeclaration(service: string, query: DeclarationQuery): Promise<ServiceDeclaration | Failure>;
  withdrawDeclaration(service: string, query: DeclarationQuery, actor: Actor): Promise<ServiceDeclaration | Failure>;
}

export interface PersistentServicesOptions {
  readonly store: DurableStore;
  readonly config: Pick<ServerConfig, 'persistentInstancesMax' | 'declaredServicesMax' | 'persistentWritesMax'>;
  readonly delay: (ms: number) => Promise<void>;
  /** Undefined: nothing is noted. */
  readonly audit?: AuditTrail | undefined;
  /** Which checks are made. */
  readonly checkRules: Pick<CheckRules, 'refuse'>;
  /** Something of what is stored could not be brought back, or taken back; what has been done is as good as can be. */
  readonly onTrouble: (trouble: string, details: object) => void;
}

/** Who carries out what has been stored. */
export interface PersistentParts {
  readonly session: PersistentSession;
  readonly hosts: Pick<Hosts, 'setDefaultWeights' | 'setHealthThreshold'>;
  readonly guard: Pick<RegistryGuard, 'setProtection'>;
  /** What partitions began with, and may have been deregistered since. */
  readonly known: readonly PersistentFinding[];
  /** Resolves once the session has been told what it had registered of that, and with which stamps. */
  readonly recalled: Promise<void>;
}

/** An instance as it was, and as it is to be: canonical JSON, or undefined where there is none. */
interface InstanceChange {
  readonly id: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

interface SettingsChange {
  readonly before: ServiceSettings | undefined;
  readonly after: ServiceSettings | undefined;
}

/** What is to change of one service, together. `settings` undefined: they stay. */
interface ServiceChange {
  readonly key: string;
  readonly changes: readonly InstanceChange[];
  readonly settings?: SettingsChange | undefined;
}

/** Who changes what, for the audit log. Undefined: whoever asks for it notes it. */
type Act = Pick<AuditRecord, 'actor' | 'what' | 'target'> | undefined;

const notLoaded: Failure = { code: 'storage_unavailable', message: 'what is stored has not been read yet' };

/** How long a caller is asked to wait when too much is being stored. */
const busyRetryMs = 200;
/** How often it is tried again what could not be done, in milliseconds, and how many instances at a time. */
const retryMs = 1000;
const catchUpMax = 1000;

/**
 * Persistent instances, and what services are declared with, on the main thread. A change is stored first, then carried out like any other, and then answered; one that
 * cannot be carried out is taken back from the store before its refusal is answered. What has been stored comes back with {@link load}.
 */
export class PersistentServices implements PersistentCalls, DeclarationCalls {
  readonly #options: PersistentServicesOptions;
  readonly #turns: ServiceTurns = new ServiceTurns();
  readonly #settings: Map<string, ServiceSettings> = new Map();
  /** Ids by service: what is registered, and what is about to be. */
  readonly #ids: Map<string, Set<string>> = new Map();
  #idCount = 0;
  #underWay = 0;
  /** By service: rows that are still to be taken back, by their keys. */
  readonly #owed: Map<string, Map<string, DurableWrite>> = new Map();
  /** What is stored, and found no room when it was brought back. */
  readonly #unapplied: Map<string, InstanceRow> = new Map();
  #recalled: Promise<void> = Promise.resolve();
  #joined: PersistentParts | undefined;
  /** Undefined: what is stored has not been read yet. */
  #parts: PersistentParts | undefined;
  /** Why what is stored could not be read, as it was said last. */
  #unreadable = '';
  #isTrying = false;
  #nextTryMs = 0;

  constructor(options: PersistentServicesOptions) {
    this.#options = options;
  }

  /** Persistent instances, and services that are declared with settings. */
  get counts(): { readonly instances: number; readonly services: number } {
    return { instances: this.#parts?.session.size ?? 0, services: this.#settings.size };
  }

  /**
   * Brings back what is stored, and takes changes from then on. If the store cannot be read, resolves all the same: {@link tick} tries again, and changes are refused
   * meanwhile.
   */
  async load(parts: PersistentParts): Promise<void> {
    this.#joined = parts;
    this.#isTrying = true;
    try {
      await this.#loadSettings(parts);
      const known = await this.#loadInstances(parts);
      await this.#dropStrays(parts, parts.known);
      this.#parts = parts;
      this.#recalled = parts.recalled.then(() => this.#compareRecalled(parts, known));
    } catch (error) {
      // It is tried again and again.
      const reason = String(error);
      if (reason !== this.#unreadable)
        this.#options.onTrouble('what is persistent could not be read from the store', { err: error });
      this.#unreadable = reason;
    } finally {
      this.#isTrying = false;
    }
  }

  async #loadSettings({ guard, hosts }: PersistentParts): Promise<void> {
    const weights: [key: string, weight: number][] = [];
    for await (const rows of this.#options.store.load('services')) {
      for (const row of rows) {
        const settings = readSettings(row);
        this.#settings.set(row.key, settings);
        guard.setProtection(row.key, settings.protectionThreshold);
        if (settings.healthThreshold !== undefined) await hosts.setHealthThreshold(row.key, settings.healthThreshold);
        if (settings.defaultWeight !== undefined) weights.push([row.key, settings.defaultWeight]);
      }
    }
    if (weights.length > 0) await hosts.setDefaultWeights(weights);
  }

  /** Registers what partitions did not begin with. Returns the others: registering them anew would make them the newest of several claims, whatever was visible before the restart. */
  async #loadInstances(parts: PersistentParts): Promise<InstanceRow[]> {
    const digests = new Map(parts.known.map(({ key, id, digest }) => [nameInstance(key, id), digest]));
    const known: InstanceRow[] = [];
    for await (const rows of this.#options.store.load('instances')) {
      const read = rows.map(readInstance);
      for (const row of read) this.#addId(row.key, row.id);
      const isKnown = ({ key, id, fragment }: InstanceRow): boolean =>
        digests.get(nameInstance(key, id)) === digestFragment(fragment);
      const unknown: InstanceRow[] = [];
      for (const row of read) (isKnown(row) ? known : unknown).push(row);
      await Promise.all(unknown.map((row) => this.#restore(parts, row)));
    }
    return known;
  }

  /** Partitions may have died meanwhile, and begun with less. */
  async #compareRecalled(parts: PersistentParts, known: readonly InstanceRow[]): Promise<void> {
    const different = known.filter(({ key, id, fragment }) => parts.session.get(key, id) !== fragment);
    for (let at = 0; at < different.length; at += catchUpMax) {
      await Promise.all(different.slice(at, at + catchUpMax).map((row) => this.#restore(parts, row)));
    }
  }

  /** What finds no room waits until there is some: it is stored, and its caller has been told that it is there. */
  async #restore({ session }: PersistentParts, { key, id, fragment }: InstanceRow): Promise<void> {
    const outcome = await session.register(key, { id, fragment, hasWeight: true });
    const name = nameInstance(key, id);
    if (!('code' in outcome)) this.#unapplied.delete(name);
    else if (!this.#unapplied.has(name)) {
      this.#unapplied.set(name, { key, id, fragment });
      this.#options.onTrouble('a persistent instance could not be brought back yet', { key, id, ...outcome });
    }
  }

  /** Now and then tries again what could not be done. */
  tick(nowMs: number): void {
    if (this.#isTrying || nowMs < this.#nextTryMs) return;
    this.#nextTryMs = nowMs + retryMs;
    if (this.#parts === undefined) {
      if (this.#joined !== undefined) void this.load(this.#joined);
    } else if (this.#owed.size + this.#unapplied.size > 0 || this.#hasStrays(this.#parts)) {
      this.#isTrying = true;
      void this.#catchUp(this.#parts).finally(() => {
        this.#isTrying = false;
      });
    }
  }

  /** What was recalled of the life before, and had been deregistered there. */
  #hasStrays({ session }: PersistentParts): boolean {
    return this.#underWay === 0 && session.size > this.#idCount;
  }

  async #catchUp(parts: PersistentParts): Promise<void> {
    if (this.#hasStrays(parts)) await this.#dropStrays(parts, parts.session.names());
    for (const key of this.#owed.keys()) await this.#run(key, undefined, () => this.#commit(key, []));
    for (const row of Array.from(this.#unapplied.values()).slice(0, catchUpMax)) {
      await this.#run(row.key, row.id, async () => {
        if (this.#unapplied.has(nameInstance(row.key, row.id))) await this.#restore(parts, row);
        return undefined;
      });
    }
  }

  /** Deregisters those that are not stored. */
  async #dropStrays({ session }: PersistentParts, names: readonly InstanceName[]): Promise<void> {
    const strays = names.filter(({ key, id }) => this.#ids.get(key)?.has(id) !== true);
    for (let at = 0; at < strays.length; at += catchUpMax) {
      const part = strays.slice(at, at + catchUpMax);
      await Promise.all(
        part.map(({ key, id }) =>
          this.#turns.run(key, id, async () => {
            if (this.#ids.get(key)?.has(id) !== true) await session.deregister(key, id);
          }),
        ),
      );
    }
  }

  registerPersistent({ instance, ...service }: RegisterParams, actor?: Actor): Promise<RegisterResult | Failure> {
    const key = serviceKey(service);
    const { id } = encodeInstance(instance);
    return this.#run(key, id, async (parts) => {
      const { fragment, weight } = this.#encode(key, instance);
      const failure =
        this.#options.checkRules.refuse(fragment) ?? this.#judgeService(key, id) ?? this.#reserve(key, [id]);
      if (failure !== undefined) return failure;
      const changes = [{ id, before: this.#read(parts, key, id), after: fragment }];
      const outcome = await this.#change(
        parts,
        { key, changes },
        describeAct('instance.register', actor, { service: key, id }),
      );
      if ('code' in outcome) return outcome;
      return { version: outcome.version, id, ...(weight === undefined ? {} : { weight }) };
    });
  }

  deregisterPersistent({ id, ...service }: DeregisterParams, actor?: Actor): Promise<DeregisterResult | Failure> {
    const key = serviceKey(service);
    return this.#run(key, id, async (parts) => {
      const before = this.#read(parts, key, id);
      if (before === undefined) {
        return { code: 'not_found', message: `no persistent instance ${JSON.stringify(id)} in ${key}` };
      }
      const act = describeAct('instance.deregister', actor, { service: key, id });
      const outcome = await this.#change(parts, { key, changes: [{ id, before, after: undefined }] }, act);
      return 'code' in outcome ? outcome : { version: outcome.version };
    });
  }

  /** The settings replace those before, and the instances, if there are any, all that the service had: on disk as one, to subscribers perhaps in several pushes. */
  declareService(service: string, body: DeclarationBody, actor?: Actor): Promise<ServiceDeclaration | Failure> {
    const { namespace, group, instances, ...settings } = body;
    const key = serviceKey({ namespace, group, service });
    return this.#run(key, undefined, async (parts) => {
      const { declaredServicesMax } = this.#options.config;
      if (!this.#settings.has(key) && this.#settings.size >= declaredServicesMax) {
        return refuseBound('declaredServicesMax', declaredServicesMax, 'declared services');
      }
      const wanted = this.#encodeSet(key, instances, settings.defaultWeight);
      if ('code' in wanted) return wanted;
      const failure = this.#reserve(key, wanted.keys());
      if (failure !== undefined) return failure;
      const changes = instances === undefined ? [] : this.#compare(parts, key, wanted);
      const change = { key, changes, settings: this.#compareSettings(key, settings) };
      const outcome = await this.#change(parts, change, describeAct('service.declare', actor, { service: key }));
      return 'code' in outcome ? outcome : this.#describe(parts, key);
    });
  }

  readDeclaration(service: string, query: DeclarationQuery): Promise<ServiceDeclaration | Failure> {
    const key = serviceKey({ ...query, service });
    return Promise.resolve(this.#parts === undefined ? notLoaded : (this.#find(this.#parts, key) ?? notDeclared(key)));
  }

  /** Ends what a service was declared with, and all its persistent instances. Resolves to what it was. */
  withdrawDeclaration(service: string, query: DeclarationQuery, actor?: Actor): Promise<ServiceDeclaration | Failure> {
    const key = serviceKey({ ...query, service });
    return this.#run(key, undefined, async (parts) => {
      const before = this.#find(parts, key);
      if (before === undefined) return notDeclared(key);
      const changes = this.#compare(parts, key, new Map());
      const change = { key, changes, settings: this.#compareSettings(key, undefined) };
      const outcome = await this.#change(parts, change, describeAct('service.withdraw', actor, { service: key }));
      return 'code' in outcome ? outcome : before;
    });
  }

  /** One change of an instance at a time, and of a whole service apart from all others; a limited number in all. */
  async #run<T>(
    key: string,
    id: string | undefined,
    work: (parts: PersistentParts) => Promise<T | Failure>,
  ): Promise<T | Failure> {
    const parts = this.#parts;
    if (parts === undefined) return notLoaded;
    const { persistentWritesMax } = this.#options.config;
    if (this.#underWay >= persistentWritesMax) return refuseBusy(persistentWritesMax);
    this.#underWay += 1;
    try {
      // Until then it is not known what there is.
      await this.#recalled;
      return await this.#turns.run(key, id, () => work(parts));
    } finally {
      this.#underWay -= 1;
    }
  }

  #encode(key: string, instance: InstanceInput): { readonly fragment: string; readonly weight: number | undefined } {
    const defaultWeight = this.#settings.get(key)?.defaultWeight;
    const { fragment, hasWeight } = encodeInstance(instance, { defaultWeight, isPersistent: true });
    return { fragment, weight: hasWeight ? undefined : defaultWeight };
  }

  #encodeSet(
    key: string,
    instances: readonly InstanceInput[] = [],
    defaultWeight: number | undefined,
  ): Map<string, string> | Failure {
    const wanted = new Map<string, string>();
    for (const [i, instance] of instances.entries()) {
      const { id, fragment } = encodeInstance(instance, { defaultWeight, isPersistent: true });
      if (wanted.has(id)) {
        const message = `${key} is declared with two instances ${JSON.stringify(id)}`;
        return { code: 'invalid_params', message, field: `/instances/${i}/id` };
      }
      const refused = this.#options.checkRules.refuse(fragment);
      if (refused !== undefined)
        return { ...refused, field: `/instances/${i}${refused.field?.replace('/instance', '') ?? ''}` };
      wanted.set(id, fragment);
    }
    return wanted;
  }

  /** What is to change so that a service has these persistent instances and no others. */
  #compare(parts: PersistentParts, key: string, wanted: ReadonlyMap<string, string>): InstanceChange[] {
    const ids = new Set([...wanted.keys(), ...(this.#ids.get(key) ?? [])]);
    return [...ids]
      .map((id) => ({ id, before: this.#read(parts, key, id), after: wanted.get(id) }))
      .filter(({ before, after }) => before !== after);
  }

  /** What there is of an instance. */
  #read({ session }: PersistentParts, key: string, id: string): string | undefined {
    return session.get(key, id) ?? this.#unapplied.get(nameInstance(key, id))?.fragment;
  }

  #compareSettings(key: string, after: ServiceSettings | undefined): SettingsChange | undefined {
    const before = this.#settings.get(key);
    return JSON.stringify(before) === JSON.stringify(after) ? undefined : { before, after };
  }

  /**
   * Stores a change, and carries it out: first what is new or different, then what goes, so that nobody is shown a list that is too short. Resolves to the version of the
   * service, or to why nothing has changed.
   */
  async #change(parts: PersistentParts, change: ServiceChange, act: Act): Promise<Applied> {
    const { key, changes } = change;
    const { audit } = this.#options;
    const writes = writeChange(change);
    const isNoted = audit !== undefined && act !== undefined && writes.length > 0;
    const failure = (isNoted ? audit.refusal : undefined) ?? (await this.#commit(key, writes));
    // Nobody knows whether it was stored: it is taken back, for it has not been carried out.
    if (failure?.code === 'internal') this.#owe(key, writeChange(reverseAll(change)));
    const outcome = failure ?? (await this.#carryOut(parts, change));
    const ids = this.#ids.get(key);
    for (const { id } of changes) {
      if (this.#read(parts, key, id) === undefined && ids?.delete(id) === true) this.#idCount -= 1;
    }
    if (ids?.size === 0) this.#ids.delete(key);
    if (isNoted && !isRefusal(outcome)) {
      await audit.note({ ...act, ...describeChange(change), outcome: 'code' in outcome ? 'unknown' : 'done' });
    }
    return outcome;
  }

  async #carryOut(parts: PersistentParts, change: ServiceChange): Promise<Applied> {
    const { key, changes, settings } = change;
    if (settings !== undefined) await this.#adoptSettings(parts, key, settings.after);
    const outcomes = new Map<InstanceChange, Applied>();
    await this.#apply(parts, key, changes.filter(isPut), outcomes);
    const refusal = [...outcomes.values()].find(isRefusal);
    if (refusal !== undefined) return (await this.#takeBack(parts, change, outcomes)) ?? refusal;
    const removals = changes.filter((each) => !isPut(each));
    await this.#apply(parts, key, removals, outcomes);
    let version = 0;
    for (const outcome of outcomes.values()) {
      if ('code' in outcome) return outcome;
      version = Math.max(version, outcome.version);
    }
    return { version };
  }

  /** Resolves when all owners have applied it. */
  async #apply(
    { session }: PersistentParts,
    key: string,
    changes: readonly InstanceChange[],
    outcomes: Map<InstanceChange, Applied>,
  ): Promise<void> {
    const applied = changes.map(async ({ id, after }): Promise<Applied> => {
      if (after !== undefined) return session.register(key, { id, fragment: after, hasWeight: true });
      // What found no room when it was brought back is nowhere else.
      return session.get(key, id) === undefined ? { version: 0 } : session.deregister(key, id);
    });
    for (const [i, outcome] of (await Promise.all(applied)).entries()) {
      const change = changes[i]!;
      outcomes.set(change, outcome);
      if (!isRefusal(outcome)) this.#unapplied.delete(nameInstance(key, change.id));
    }
  }

  /** What was stored cannot be carried out: all of it is as before. Resolves to what else to answer, if that is not certain. */
  async #takeBack(
    parts: PersistentParts,
    change: ServiceChange,
    outcomes: ReadonlyMap<InstanceChange, Applied>,
  ): Promise<Failure | undefined> {
    const { key, changes, settings } = change;
    if (settings !== undefined) await this.#adoptSettings(parts, key, settings.before);
    // What was refused is as it was; what was not, or may not have been, is put back.
    const carriedOut = changes.filter((each) => outcomes.has(each) && !isRefusal(outcomes.get(each)!));
    const restored = new Map<InstanceChange, Applied>();
    await this.#apply(parts, key, carriedOut.map(reverse), restored);
    const rows = writeChange(reverseAll(change));
    const failure = (await this.#commit(key, rows)) ?? [...restored.values()].find((outcome) => 'code' in outcome);
    if (failure === undefined) return undefined;
    this.#owe(key, rows);
    this.#options.onTrouble('a change of persistent instances could not be taken back yet', { key, ...failure });
    return {
      code: 'internal',
      message: 'it could not be carried out, and what was stored of it is still to be undone',
    };
  }

  /** Stores rows, and with them what is still owed of the service. */
  async #commit(key: string, writes: readonly DurableWrite[]): Promise<Failure | undefined> {
    const owed = this.#owed.get(key);
    if (owed === undefined && writes.length === 0) return undefined;
    const rows = new Map(owed);
    for (const write of writes) rows.set(`${write.table} ${write.key}`, write);
    const failure = await storeRows(this.#options, [...rows.values()]);
    if (failure !== undefined) return failure;
    if (owed !== undefined) this.#owed.delete(key);
    return undefined;
  }

  #owe(key: string, rows: readonly DurableWrite[]): void {
    const owed = this.#owed.get(key) ?? new Map<string, DurableWrite>();
    for (const row of rows) owed.set(`${row.table} ${row.key}`, row);
    this.#owed.set(key, owed);
  }

  /** They apply to what is registered from now on, on every host. */
  async #adoptSettings(parts: PersistentParts, key: string, settings: ServiceSettings | undefined): Promise<void> {
    const before = this.#settings.get(key);
    if (settings === undefined) this.#settings.delete(key);
    else this.#settings.set(key, settings);
    if (before?.protectionThreshold !== settings?.protectionThreshold) {
      parts.guard.setProtection(key, settings?.protectionThreshold);
    }
    if ((before?.healthThreshold ?? 0) !== (settings?.healthThreshold ?? 0)) {
      await parts.hosts.setHealthThreshold(key, settings?.healthThreshold ?? 0);
    }
    if (before?.defaultWeight !== settings?.defaultWeight) {
      await parts.hosts.setDefaultWeights([[key, settings?.defaultWeight]]);
    }
  }

  /** Whether a service has room for an instance. A declared set is no larger, and what was there before goes. */
  #judgeService(key: string, id: string): Failure | undefined {
    const { persistentPerServiceMax } = protocolLimits;
    const ids = this.#ids.get(key);
    if (ids === undefined || ids.size < persistentPerServiceMax || ids.has(id)) return undefined;
    return refuseBound('persistentPerServiceMax', persistentPerServiceMax, `persistent instances of ${key}`);
  }

  /** Whether there is room for instances that are to be registered, which is theirs from now on. */
  #reserve(key: string, ids: Iterable<string>): Failure | undefined {
    const { persistentInstancesMax } = this.#options.config;
    const known = this.#ids.get(key);
    const fresh = [...ids].filter((id) => known?.has(id) !== true);
    if (this.#idCount + fresh.length > persistentInstancesMax) {
      return refuseBound('persistentInstancesMax', persistentInstancesMax, 'persistent instances');
    }
    for (const id of fresh) this.#addId(key, id);
    return undefined;
  }

  #addId(key: string, id: string): void {
    const ids = this.#ids.get(key) ?? new Set();
    this.#ids.set(key, ids);
    if (!ids.has(id)) this.#idCount += 1;
    ids.add(id);
  }

  #find(parts: PersistentParts, key: string): ServiceDeclaration | undefined {
    return this.#settings.has(key) || this.#ids.has(key) ? this.#describe(parts, key) : undefined;
  }

  #describe(parts: PersistentParts, key: string): ServiceDeclaration {
    const instances = [...(this.#ids.get(key) ?? [])].sort().flatMap((id) => {
      const fragment = this.#read(parts, key, id);
      return fragment === undefined ? [] : [JSON.parse(fragment) as Instance];
    });
    return { ...parseServiceKey(key), ...this.#settings.get(key), instances };
  }
}

/** Rows that differ. */
function writeChange({ key, changes, settings }: ServiceChange): DurableWrite[] {
  const rows = changes
    .filter(({ before, after }) => before !== after)
    .map(({ id, after }) => writeInstance(key, id, after));
  return settings === undefined ? rows : [writeSettings(key, settings.after), ...rows];
}

function describeAct(what: AuditRecord['what'], actor: Actor | undefined, target: object): Act {
  return actor === undefined ? undefined : { actor, what, target };
}

/** What was there, and what is there now, of what has changed. */
function describeChange({ changes, settings }: ServiceChange): Pick<AuditRecord, 'before' | 'after'> {
  return {
    before: describeSide(changes, settings, 'before'),
    after: describeSide(changes, settings, 'after'),
  };
}

function describeSide(
  changes: readonly InstanceChange[],
  settings: SettingsChange | undefined,
  side: 'before' | 'after',
): object | undefined {
  const instances = changes.flatMap((change) => {
    const fragment = change[side];
    return fragment === undefined || change.before === change.after ? [] : [JSON.parse(fragment) as Instance];
  });
  const of = settings?.[side];
  if (of === undefined && instances.length === 0) return undefined;
  return { ...of, ...(instances.length === 0 ? {} : { instances }) };
}

function reverseAll({ key, changes, settings }: ServiceChange): ServiceChange {
  return {
    key,
    changes: changes.map(reverse),
    settings: settings === undefined ? undefined : { before: settings.after, after: settings.before },
  };
}

function reverse({ id, before, after }: InstanceChange): InstanceChange {
  return { id, before: after, after: before };
}

function isPut({ after }: InstanceChange): boolean {
  return after !== undefined;
}

/** Nothing was done. What was in flight at two deaths in a row may have been, and is what is stored. */
function isRefusal(outcome: Applied): outcome is Failure {
  return 'code' in outcome && outcome.code !== 'internal';
}

/** Names have no control characters. */
function nameInstance(key: string, id: string): string {
  return `${key}\n${id}`;
}

function notDeclared(key: string): Failure {
  return { code: 'not_found', message: `${key} is not declared, and has no persistent instances` };
}

function refuseBound(limit: string, max: number, what: string): Failure {
  return { code: 'limit_exceeded', message: `there are ${max} ${what} already`, limit, max };
}

function refuseBusy(max: number): Failure {
  const message = `${max} changes of what is persistent are under way`;
  return { code: 'busy', message, limit: 'persistentWritesMax', max, retryAfterMs: busyRetryMs };
}
