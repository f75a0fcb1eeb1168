import { listCursor, listLimit, serviceNameSchemas } from './schemas.ts';
import type { JsonSchema } from './schemas.ts';
import type { CheckDefinition, Health, ServiceFields, ServiceName } from './types.ts';

export interface ChecksQuery extends Partial<ServiceFields> {
  /** 1 to 1000, by default 100. */
  readonly limit?: number;
  readonly cursor?: string;
}

/** A check that the server makes. */
export interface CheckState extends ServiceName {
  readonly id: string;
  readonly kind: CheckDefinition['kind'];
  readonly health: Health;
  /** What its last results said. */
  readonly output: string;
  /** In RFC 3339. */
  readonly since: string;
}

export interface ChecksResult {
  /** So many fail at once that the fault is likely at the server: nothing becomes critical meanwhile. */
  readonly holding: boolean;
  /** In the order of services and ids. */
  readonly checks: readonly CheckState[];
  readonly cursor?: string;
}

const { namespace, group, service } = serviceNameSchemas;
const word = (description: string): JsonSchema => ({ type: 'string', description });

export const checksQuerySchema: JsonSchema = {
  type: 'object',
  properties: { namespace, group, service, limit: listLimit('Checks'), cursor: listCursor },
  required: [],
  additionalProperties: false,
};

export const checksSchema: JsonSchema = {
  type: 'object',
  properties: {
    holding: {
      type: 'boolean',
      description: 'So many checks fail at once that the fault is likely at the server: nothing becomes critical.',
    },
    checks: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          namespace,
          group,
          service,
          id: word('The instance.'),
          kind: { type: 'string', enum: ['http', 'https', 'tcp', 'grpc', 'ttl', 'script'] },
          health: { type: 'string', enum: ['passing', 'warning', 'critical'] },
          output: word('What its last result said.'),
          since: { type: 'string', format: 'date-time', description: 'Since when it stands so.' },
        },
        required: ['namespace', 'group', 'service', 'id', 'kind', 'health', 'output', 'since'],
        additionalProperties: false,
      },
      description: 'In the order of services and ids.',
    },
    cursor: word('Present if there are more: send it to get the next page.'),
  },
  required: ['holding', 'checks'],
  additionalProperties: false,
};
