import type { AccessTables } from '../access/access-check.ts';
import { isKeyAction } from '../access/policy.ts';
import { generateToken, hashToken } from '../access/token.ts';
import type { GeneratedToken } from '../access/token.ts';
import { carryOutNoted } from '../audit/audit-trail.ts';
import type { AuditTrail } from '../audit/audit-trail.ts';
import type { ServerConfig } from '../config/config.ts';
import type { DurableStore, DurableWrite } from '../durable/commits.ts';
import { adminPolicy } from '../protocol/access.ts';
import type {
  NewToken,
  PoliciesResult,
  Policy,
  PolicyQuery,
  PolicyRule,
  Token,
  TokenCreateBody,
  TokenQuery,
  TokenRotateBody,
  TokensResult,
} from '../protocol/access.ts';
import { serverActor } from '../protocol/actor.ts';
import type { Actor } from '../protocol/actor.ts';
import type { AuditAct } from '../protocol/audit-acts.ts';
import type { Failure } from '../protocol/errors.ts';
import type { Hosts } from './hosts.ts';
import { storeRows } from './persistent-rows.ts';
import { ServiceTurns } from './service-turns.ts';

/** What administrators do with policies and tokens. */
export interface AccessCalls {
  listPolicies(): Promise<PoliciesResult>;
  putPolicy(policy: Policy, actor: Actor): Promise<Policy | Failure>;
  deletePolicy(query: PolicyQuery, actor: Actor): Promise<Policy | Failure>;
  listTokens(): Promise<TokensResult>;
  createToken(body: TokenCreateBody, actor: Actor): Promise<NewToken | Failure>;
  rotateToken(body: TokenRotateBody, actor: Actor): Promise<NewToken | Failure>;
  revokeToken(query: TokenQuery, actor: Actor): Promise<Token | Failure>;
}

export interface AccessControlOptions {
  readonly store: DurableStore;
  readonly config: Pick<ServerConfig, 'accessControl' | 'tokensMax' | 'policiesMax'>;
  readonly hosts: Pick<Hosts, 'setAccess'>;
  /** Reads the key by which tokens are hashed, or makes it. */
  readonly readTokenKey: () => Uint8Array;
  /** Puts the first token where the administrator finds it; returns where that is. */
  readonly writeBootstrapToken: (token: string) => string;
  readonly delay: (ms: number) => Promise<void>;
  /** Milliseconds since the epoch. */
  readonly readWallMs: () => number;
  readonly onEvent: (event: AccessEvent) => void;
  readonly audit?: AuditTrail | undefined;
}

export type AccessEvent =
  /** `file`: of the first token. */
  | { readonly kind: 'bootstrapped'; readonly file: string }
  | { readonly kind: 'unreadable'; readonly error: unknown }
  | { readonly kind: 'policy put' | 'policy deleted'; readonly policy: Policy }
  | { readonly kind: 'token created' | 'token rotated' | 'token revoked'; readonly token: Token };

/** A token as it is stored. */
interface StoredToken extends Token {
  readonly hash: string;
  /** How long it, and each that it is rotated to, is valid; undefined: until it is revoked. */
  readonly forMs?: number;
}

const table = 'registry';
/** Stand before the names of policies and tokens there. */
const policyPrefix = 'policy\n';
const tokenPrefix = 'token\n';
/** How long until what could not be read is tried again, in milliseconds. */
const retryMs = 1000;
const overlapMsDefault = 3_600_000;
const bootstrapName = 'bootstrap';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Policies and tokens, on the main thread: each change is stored, then all threads know it, then it is answered. What cannot be read lets nobody in. */
export class AccessControl implements AccessCalls {
  readonly #options: AccessControlOptions;
  readonly #turns: ServiceTurns = new ServiceTurns();
  readonly #policies: Map<string, Policy> = new Map();
  /** In the order in which they were created. */
  readonly #tokens: Map<string, StoredToken> = new Map();
  #tokenKey: Uint8Array | undefined;
  #isLoaded = false;
  #isUnreadable = false;
  #isTrying = false;
  #nextTryMs = 0;

  constructor(options: AccessControlOptions) {
    this.#options = options;
  }

  /** Brings back what is stored, before anybody is served. If it cannot be read, resolves all the same, and {@link tick} tries again. */
  async load(): Promise<void> {
    const { store, config } = this.#options;
    const tokens: StoredToken[] = [];
    const policies: Policy[] = [];
    try {
      if (config.accessControl === 'on') this.#key();
      for await (const rows of store.load(table, tokenPrefix))
        for (const { payload } of rows) tokens.push(decode(payload) as StoredToken);
      for await (const rows of store.load(table, policyPrefix))
        for (const { payload } of rows) policies.push(decode(payload) as Policy);
    } catch (error) {
      this.#reportUnreadable(error);
      return;
    }
    tokens.sort((a, b) => (a.createdAt < b.createdAt ? -1 : Number(a.createdAt > b.createdAt)));
    for (const token of tokens) this.#tokens.set(token.id, token);
    for (const policy of policies) this.#policies.set(policy.policy, policy);
    this.#isLoaded = true;
    if (config.accessControl === 'on' && this.#tokens.size === 0) await this.#bootstrap();
    await this.#tellHosts();
  }

  /** Deletes tokens that have expired. */
  tick(nowMs: number): void {
    if (this.#isTrying || nowMs < this.#nextTryMs) return;
    this.#nextTryMs = nowMs + retryMs;
    this.#isTrying = true;
    void (this.#isLoaded ? this.#forgetExpired() : this.load()).finally(() => {
      this.#isTrying = false;
    });
  }

  listPolicies(): Promise<PoliciesResult> {
    const policies = [...this.#policies.values()];
    return Promise.resolve({ policies: policies.sort((a, b) => (a.policy < b.policy ? -1 : 1)) });
  }

  putPolicy(policy: Policy, actor: Actor): Promise<Policy | Failure> {
    const before = this.#policies.get(policy.policy);
    const act = { actor, what: 'policy.put', target: { policy: policy.policy } } as const;
    return this.#runNoted(
      act,
      () => ({ before, after: policy }),
      async () => {
        const { policiesMax: max } = this.#options.config;
        const { policy: name } = policy;
        if (name === adminPolicy) return refuseAdminPolicy;
        const vague = policy.rules.findIndex((rule) => isVague(rule));
        if (vague >= 0) return refuseVague(vague);
        if (!this.#policies.has(name) && this.#policies.size >= max)
          return { code: 'limit_exceeded', message: `there are ${max} policies`, limit: 'policiesMax', max };
        const refused = await this.#store([writeRow(policyPrefix + name, policy)]);
        if (refused !== undefined) return refused;
        this.#policies.set(name, policy);
        await this.#tellHosts();
        this.#options.onEvent({ kind: 'policy put', policy });
        return policy;
      },
    );
  }

  deletePolicy({ policy: name }: PolicyQuery, actor: Actor): Promise<Policy | Failure> {
    const act = { actor, what: 'policy.delete', target: { policy: name } } as const;
    return this.#runNoted(
      act,
      (before) => ({ before }),
      async () => {
        if (name === adminPolicy) return refuseAdminPolicy;
        const policy = this.#policies.get(name);
        if (policy === undefined) return { code: 'not_found', message: 'there is no such policy' };
        const refused = await this.#store([writeRow(policyPrefix + name, undefined)]);
        if (refused !== undefined) return refused;
        this.#policies.delete(name);
        await this.#tellHosts();
        this.#options.onEvent({ kind: 'policy deleted', policy });
        return policy;
      },
    );
  }

  listTokens(): Promise<TokensResult> {
    return Promise.resolve({ tokens: [...this.#tokens.values()].map((token) => describe(token)) });
  }

  createToken({ name, policies, forMs }: TokenCreateBody, actor: Actor): Promise<NewToken | Failure> {
    return this.#runNoted({ actor, what: 'token.create', target: { name } }, noteCreated, () =>
      this.#create({ name, policies, forMs }, 'token created'),
    );
  }

  /** The new one is stored first: in between both are valid. */
  rotateToken({ id, overlapMs = overlapMsDefault }: TokenRotateBody, actor: Actor): Promise<NewToken | Failure> {
    return this.#runNoted({ actor, what: 'token.rotate', target: { id, overlapMs } }, noteCreated, async () => {
      const before = this.#tokens.get(id);
      if (before === undefined) return noSuchToken;
      const { name, policies, expiresAt, forMs } = before;
      const created = await this.#create({ name, policies, forMs }, 'token rotated');
      if ('code' in created) return created;
      const endsAt = this.#options.readWallMs() + overlapMs;
      if (expiresAt !== undefined && Date.parse(expiresAt) <= endsAt) return created;
      const ending = { ...before, expiresAt: toTime(endsAt) };
      const refused = await this.#store([writeRow(tokenPrefix + id, ending)]);
      if (refused !== undefined) return refused;
      this.#tokens.set(id, ending);
      await this.#tellHosts();
      return created;
    });
  }

  revokeToken({ id }: TokenQuery, actor: Actor): Promise<Token | Failure> {
    return this.#runNoted(
      { actor, what: 'token.revoke', target: { id } },
      (before) => ({ before }),
      async () => {
        const token = this.#tokens.get(id);
        if (token === undefined) return noSuchToken;
        const refused = await this.#forget([id]);
        if (refused !== undefined) return refused;
        await this.#tellHosts();
        const shown = describe(token);
        this.#options.onEvent({ kind: 'token revoked', token: shown });
        return shown;
      },
    );
  }

  async #create(
    { name, policies, forMs }: Pick<Token, 'name' | 'policies'> & { readonly forMs: number | undefined },
    kind: 'token created' | 'token rotated',
    generated: GeneratedToken = generateToken(),
  ): Promise<NewToken | Failure> {
    const { tokensMax: max } = this.#options.config;
    if (this.#tokens.size >= max)
      return { code: 'limit_exceeded', message: `there are ${max} tokens`, limit: 'tokensMax', max };
    const { id, token } = generated;
    const nowMs = this.#options.readWallMs();
    const hash = hashToken(this.#key(), token);
    const expiry = forMs === undefined ? {} : { forMs, expiresAt: toTime(nowMs + forMs) };
    const stored: StoredToken = { id, name, policies, createdAt: toTime(nowMs), ...expiry, hash };
    const refused = await this.#store([writeRow(tokenPrefix + id, stored)]);
    if (refused !== undefined) return refused;
    this.#tokens.set(id, stored);
    await this.#tellHosts();
    const shown = describe(stored);
    this.#options.onEvent({ kind, token: shown });
    return { ...shown, token };
  }

  /** Who has no token yet gets one from where only the administrator of the machine can read it. It is there before it is valid: one that could not be written would stand in the way of the next. */
  async #bootstrap(): Promise<void> {
    const generated = generateToken();
    try {
      const file = this.#options.writeBootstrapToken(generated.token);
      const token = { name: bootstrapName, policies: [adminPolicy], forMs: undefined };
      const created = await this.#create(token, 'token created', generated);
      if ('code' in created) throw new Error(created.message);
      const { token: _secret, ...after } = created;
      const target = { name: bootstrapName };
      void this.#options.audit?.note({ actor: serverActor, what: 'token.create', target, after, outcome: 'done' });
      this.#options.onEvent({ kind: 'bootstrapped', file });
    } catch (error) {
      this.#isLoaded = false;
      this.#reportUnreadable(error);
    }
  }

  /** Once, however often it is tried again. */
  #reportUnreadable(error: unknown): void {
    if (!this.#isUnreadable) this.#options.onEvent({ kind: 'unreadable', error });
    this.#isUnreadable = true;
  }

  async #forgetExpired(): Promise<void> {
    const nowMs = this.#options.readWallMs();
    const expired = [...this.#tokens.values()].filter(
      ({ expiresAt }) => expiresAt !== undefined && Date.parse(expiresAt) <= nowMs,
    );
    if (expired.length === 0) return;
    await this.#run(async () => {
      const refused = await this.#forget(expired.map(({ id }) => id));
      if (refused === undefined) await this.#tellHosts();
      return undefined;
    });
  }

  async #forget(ids: readonly string[]): Promise<Failure | undefined> {
    const refused = await this.#store(ids.map((id) => writeRow(tokenPrefix + id, undefined)));
    if (refused === undefined) for (const id of ids) this.#tokens.delete(id);
    return refused;
  }

  /** Made when it is first needed. */
  #key(): Uint8Array {
    this.#tokenKey ??= this.#options.readTokenKey();
    return this.#tokenKey;
  }

  #runNoted<T extends object>(
    act: { readonly actor: Actor; readonly what: AuditAct; readonly target: object },
    describeChange: (result: T) => { readonly before?: object | undefined; readonly after?: object | undefined },
    work: () => Promise<T | Failure>,
  ): Promise<T | Failure> {
    return this.#run(() => carryOutNoted(this.#options.audit, act, work, describeChange));
  }

  /** One change at a time. */
  async #run<T>(work: () => Promise<T | Failure>): Promise<T | Failure> {
    if (!this.#isLoaded) return { code: 'storage_unavailable', message: 'policies and tokens have not been read yet' };
    return await this.#turns.run('', undefined, work);
  }

  #store(rows: readonly DurableWrite[]): Promise<Failure | undefined> {
    return storeRows(this.#options, rows);
  }

  #tellHosts(): Promise<void> {
    const tables: AccessTables = {
      tokens: [...this.#tokens.values()].map(({ id, name, hash, policies, expiresAt }) => ({
        id,
        name,
        hash,
        policies,
        ...(expiresAt === undefined ? {} : { expiresAtMs: Date.parse(expiresAt) }),
      })),
      policies: [...this.#policies.values()],
      tokenKey: this.#tokenKey ?? new Uint8Array(),
    };
    return this.#options.hosts.setAccess(tables);
  }
}

/** What is secret of it is left out. */
function noteCreated({ token: _token, ...after }: NewToken): { readonly after: Token } {
  return { after };
}

const noSuchToken: Failure = { code: 'not_found', message: 'there is no such token' };
const refuseAdminPolicy: Failure = {
  code: 'invalid_params',
  message: `the policy ${adminPolicy} allows everything, and stays as it is`,
  field: '/policy',
};

/** Whether it is limited for keys or for services only, and is about both: for the others it would be without a limit, which hardly anybody means. */
function isVague({ actions, namespaces, groups, services, keys }: PolicyRule): boolean {
  const isAboutKeys = actions.some((action) => isKeyAction(action));
  const isAboutServices = actions.some((action) => !isKeyAction(action));
  const limitsServices = [namespaces, groups, services].some((names) => names !== undefined);
  const limitsKeys = keys !== undefined;
  return (isAboutKeys && !limitsKeys && limitsServices) || (isAboutServices && !limitsServices && limitsKeys);
}

function refuseVague(rule: number): Failure {
  const message =
    'a rule that limits services must say which keys its actions on keys are about, and one that limits keys which services; `*` stands for all';
  return { code: 'invalid_params', message, field: `/rules/${rule}` };
}

function describe({ id, name, policies, createdAt, expiresAt }: StoredToken): Token {
  return { id, name, policies, createdAt, ...(expiresAt === undefined ? {} : { expiresAt }) };
}

function writeRow(key: string, value: object | undefined): DurableWrite {
  const payload = value === undefined ? undefined : encoder.encode(JSON.stringify(value));
  return { table, key, payload, createVersion: 0 };
}

function decode(payload: Uint8Array): unknown {
  return JSON.parse(decoder.decode(payload));
}

function toTime(ms: number): string {
  return new Date(ms).toISOString();
}
