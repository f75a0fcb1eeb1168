import { protocolLimits as limits } from './limits.ts';
import type { JsonSchema } from './schemas.ts';

/** What may be done, as policies name it. */
export const accessActions = [
  'read',
  'register',
  'subscribe',
  'keys:read',
  'keys:write',
  'lock',
  'operate',
  'admin',
] as const;

export type AccessAction = (typeof accessActions)[number];

/** One rule of a policy. A name that ends with `*` stands for all that begin with what is before it; what is left out stands for all. */
export interface PolicyRule {
  /** By default `allow`; a rule that denies wins over all that allow. */
  readonly effect?: 'allow' | 'deny';
  readonly actions: readonly AccessAction[];
  readonly namespaces?: readonly string[];
  readonly groups?: readonly string[];
  readonly services?: readonly string[];
  readonly keys?: readonly string[];
}

export interface Policy {
  readonly policy: string;
  readonly rules: readonly PolicyRule[];
  /** Besides those whose credentials name the policy: `anonymous`, `jwt:NAME`, `certificate:NAME`, or with `*` at the end. */
  readonly principals?: readonly string[];
  readonly description?: string;
}

export interface PoliciesResult {
  readonly policies: readonly Policy[];
}

export interface PolicyQuery {
  readonly policy: string;
}

/** A token as it is shown: not what it is used by. */
export interface Token {
  readonly id: string;
  /** Its principal is `token:` and this. */
  readonly name: string;
  readonly policies: readonly string[];
  /** In RFC 3339. */
  readonly createdAt: string;
  /** In RFC 3339; it is none from then on. */
  readonly expiresAt?: string;
}

export interface TokensResult {
  readonly tokens: readonly Token[];
}

export interface TokenCreateBody {
  readonly name: string;
  readonly policies: readonly string[];
  readonly forMs?: number;
}

export interface TokenRotateBody {
  readonly id: string;
  /** How long the one before is valid besides, in milliseconds. */
  readonly overlapMs?: number;
}

export interface TokenQuery {
  readonly id: string;
}

/** Shown once. */
export interface NewToken extends Token {
  readonly token: string;
}

export interface WhoAmI {
  readonly principal: string;
  readonly policies: readonly string[];
  readonly expiresAt?: string;
}

/** The policy that every registry has, and nobody changes: all actions on everything. */
export const adminPolicy = 'admin';

const name = (description: string): JsonSchema => ({
  type: 'string',
  pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
  maxLength: limits.accessNameCharsMax,
  description,
});
const time = (description: string): JsonSchema => ({ type: 'string', format: 'date-time', description });
const patterns = (what: string): JsonSchema => ({
  type: 'array',
  minItems: 1,
  maxItems: limits.policyNamesMax,
  items: { type: 'string', minLength: 1, 'x-bytesMax': limits.keyBytesMax },
  description: `${what}, by exact name, or by what names begin with and \`*\`; all if left out.`,
});

const ruleSchema: JsonSchema = {
  type: 'object',
  properties: {
    effect: { type: 'string', enum: ['allow', 'deny'], description: 'By default `allow`; `deny` wins.' },
    actions: {
      type: 'array',
      minItems: 1,
      maxItems: accessActions.length,
      items: { type: 'string', enum: accessActions },
      description:
        '`read`: lists and declarations; `register`: instances and their health; `subscribe`; `keys:read`; `keys:write`; `lock`: hold keys; `operate`: switches, declarations, sessions, partitions, figures; `admin`: tokens, policies, backups.',
    },
    namespaces: patterns('Namespaces'),
    groups: patterns('Groups'),
    services: patterns('Services'),
    keys: patterns('Keys'),
  },
  required: ['actions'],
  additionalProperties: false,
};

const policyName = name('The name of the policy.');
const policyProperties = {
  policy: policyName,
  rules: { type: 'array', maxItems: limits.policyRulesMax, items: ruleSchema },
  principals: {
    type: 'array',
    maxItems: limits.policyNamesMax,
    items: { type: 'string', minLength: 1, maxLength: limits.principalCharsMax },
    description:
      'To whom it applies besides those whose credentials name it: `anonymous`, `jwt:NAME`, `certificate:NAME`, or what principals begin with and `*`.',
  },
  description: { type: 'string', 'x-bytesMax': limits.descriptionBytesMax, description: 'What it is for.' },
};

export const policySchema: JsonSchema = {
  type: 'object',
  properties: policyProperties,
  required: ['policy', 'rules'],
  additionalProperties: false,
};

export const policiesSchema: JsonSchema = {
  type: 'object',
  properties: { policies: { type: 'array', items: policySchema, description: 'In the order of their names.' } },
  required: ['policies'],
  additionalProperties: false,
};

export const policyQuerySchema: JsonSchema = {
  type: 'object',
  properties: { policy: policyName },
  required: ['policy'],
  additionalProperties: false,
};

const tokenId: JsonSchema = {
  type: 'string',
  pattern: '^[0-9a-f]{16}$',
  description: 'Names the token; it is a part of it, and no secret.',
};
const tokenProperties = {
  id: tokenId,
  name: name('Whose it is: the principal is `token:` and this.'),
  policies: {
    type: 'array',
    maxItems: limits.tokenPoliciesMax,
    items: policyName,
    description: 'What it may do; policies that there are not allow nothing.',
  },
  createdAt: time('When it was created.'),
  expiresAt: time('From when on it is none.'),
};

export const tokenSchema: JsonSchema = {
  type: 'object',
  properties: tokenProperties,
  required: ['id', 'name', 'policies', 'createdAt'],
  additionalProperties: false,
};

export const tokensSchema: JsonSchema = {
  type: 'object',
  properties: {
    tokens: { type: 'array', items: tokenSchema, description: 'In the order in which they were created.' },
  },
  required: ['tokens'],
  additionalProperties: false,
};

export const newTokenSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...tokenProperties,
    token: { type: 'string', description: 'What the client shows. It is not kept: this is the only time it is seen.' },
  },
  required: ['id', 'name', 'policies', 'createdAt', 'token'],
  additionalProperties: false,
};

export const tokenCreateBodySchema: JsonSchema = {
  type: 'object',
  properties: {
    name: tokenProperties.name,
    policies: tokenProperties.policies,
    forMs: {
      type: 'integer',
      minimum: 1,
      maximum: limits.tokenMsMax,
      description: 'How long it is valid, in milliseconds; without it, until it is revoked.',
    },
  },
  required: ['name', 'policies'],
  additionalProperties: false,
};

export const tokenRotateBodySchema: JsonSchema = {
  type: 'object',
  properties: {
    id: tokenId,
    overlapMs: {
      type: 'integer',
      minimum: 0,
      maximum: limits.tokenMsMax,
      description: 'How long the one before is valid besides, in milliseconds; by default an hour.',
    },
  },
  required: ['id'],
  additionalProperties: false,
};

export const tokenQuerySchema: JsonSchema = {
  type: 'object',
  properties: { id: tokenId },
  required: ['id'],
  additionalProperties: false,
};

export const whoAmISchema: JsonSchema = {
  type: 'object',
  properties: {
    principal: { type: 'string', description: '`anonymous`, or a kind and a name, such as `token:orders`.' },
    policies: {
      type: 'array',
      items: { type: 'string' },
      description: 'Those that apply, in the order of their names.',
    },
    expiresAt: time('From when on the credentials are none.'),
  },
  required: ['principal', 'policies'],
  additionalProperties: false,
};
