import { protocolLimits as limits } from './limits.ts';
import {
  declaredInstanceSchema,
  instanceInputSchema,
  listCursor,
  listLimit,
  metadata,
  text,
  serviceNameSchemas,
} from './schemas.ts';
import type { JsonSchema } from './schemas.ts';
import type { CheckDefinition, Instance, InstanceInput, ServiceName } from './types.ts';

/** What a service is declared with; all of it may be left out. */
export interface ServiceSettings {
  /** 1 to 1024 bytes. */
  readonly description?: string;
  /** Who looks after it: 1 to 256 bytes. */
  readonly owner?: string;
  /** The share of its instances that stays when many are lost at once, 0 to 1; 0: any number may go. */
  readonly protectionThreshold?: number;
  /** The share of its instances that are to be well, 0 to 1: while fewer are, the critical ones count as well; 0: they never do. */
  readonly healthThreshold?: number;
  /** What instances get that are registered without a weight. */
  readonly defaultWeight?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Which service is meant; its name is in the path. */
export interface DeclarationQuery {
  readonly namespace?: string;
  readonly group?: string;
}

/** The settings of a service, in full, and, if there are `instances`, all of its persistent instances. */
export interface DeclarationBody extends DeclarationQuery, ServiceSettings {
  readonly instances?: readonly InstanceInput[];
}

/** What a service is declared with, and its persistent instances, ordered by id, whether they are visible or other registrations of the same instances are. */
export interface ServiceDeclaration extends ServiceName, ServiceSettings {
  readonly instances: readonly DeclaredInstance[];
}

/** An instance as it is stored. */
export interface DeclaredInstance extends Instance {
  readonly check?: CheckDefinition;
}

export interface DeclarationListQuery {
  /** Without it, services of every namespace are listed. */
  readonly namespace?: string;
  /** 1 to 1000, by default 100; a page also ends when its instances have many bytes. */
  readonly limit?: number;
  readonly cursor?: string;
}

export interface DeclarationList {
  /** In the order of their keys. */
  readonly declarations: readonly ServiceDeclaration[];
  /** Present if there may be more. */
  readonly cursor?: string;
}

export const settingsSchemas: Readonly<Record<keyof ServiceSettings, JsonSchema>> = {
  description: text('What the service is.', limits.descriptionBytesMax),
  owner: text('Who looks after it.', limits.ownerBytesMax),
  protectionThreshold: {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description:
      'The share of its instances that stays when many are lost at once, in place of `lossServicePercent`; with 0 any number may go.',
  },
  healthThreshold: {
    type: 'number',
    minimum: 0,
    maximum: 1,
    description:
      'The share of its instances that are to be well: while fewer are, `healthyOnly` lets the critical ones through, and they are `protected`; by default 0, never.',
  },
  defaultWeight: {
    type: 'integer',
    minimum: 0,
    maximum: limits.weightMax,
    description: 'The weight of instances that are registered without one from now on.',
  },
  metadata,
};
const { namespace, group, service } = serviceNameSchemas;

export const declarationQuerySchema: JsonSchema = {
  type: 'object',
  properties: { namespace, group },
  required: [],
  additionalProperties: false,
};

export const declarationBodySchema: JsonSchema = {
  type: 'object',
  properties: {
    namespace,
    group,
    ...settingsSchemas,
    instances: {
      type: 'array',
      maxItems: limits.persistentPerServiceMax,
      items: instanceInputSchema,
      description:
        'All persistent instances of the service: others that it has are removed. Without this they stay as they are.',
    },
  },
  required: [],
  additionalProperties: false,
};

export const declarationSchema: JsonSchema = {
  type: 'object',
  properties: {
    namespace,
    group,
    service,
    ...settingsSchemas,
    instances: {
      type: 'array',
      items: declaredInstanceSchema,
      description: 'Its persistent instances, ordered by id.',
    },
  },
  required: ['namespace', 'group', 'service', 'instances'],
  additionalProperties: false,
};

export const declarationListQuerySchema: JsonSchema = {
  type: 'object',
  properties: { namespace, limit: listLimit('Services'), cursor: listCursor },
  required: [],
  additionalProperties: false,
};

export const declarationListSchema: JsonSchema = {
  type: 'object',
  properties: {
    declarations: {
      type: 'array',
      items: declarationSchema,
      description: 'Services that are declared or have persistent instances, ordered by key.',
    },
    cursor: { type: 'string', description: 'Present if there may be more: send it to get the next page.' },
  },
  required: ['declarations'],
  additionalProperties: false,
};
