import { httpOperations, pathParameters } from '../../protocol/http-operations.ts';
import type { HttpOperation, OperationId } from '../../protocol/http-operations.ts';
import { createValidator } from '../../sessions/validation.ts';
import type { Validate } from '../../sessions/validation.ts';
import type { Operation } from './operations.ts';
import type { QueryTypes } from './request-reading.ts';

/** What the segments of a path stand for. */
export type PathParameters = Readonly<Partial<Record<keyof typeof pathParameters, string>>>;

/** An operation, what carries it out, and how its input is read. */
export interface Route {
  readonly id: OperationId;
  readonly operation: HttpOperation;
  readonly handle: Operation;
  readonly validate: Validate<unknown>;
  /** Checks what the path names. */
  readonly validatePath: Validate<PathParameters>;
  readonly queryTypes: QueryTypes;
}

/** Of all operations of the protocol. */
export function createRoutes(operations: Readonly<Record<OperationId, Operation>>): readonly Route[] {
  return (Object.keys(httpOperations) as OperationId[]).map((id) => createRoute(id, operations[id]));
}

function createRoute(id: OperationId, handle: Operation): Route {
  const operation = httpOperations[id];
  const schema = operation.query ?? operation.body ?? { type: 'object', properties: {}, additionalProperties: false };
  const { properties = {} } = schema as {
    readonly properties?: Readonly<Record<string, { readonly type?: unknown }>>;
  };
  const inPath = Object.entries(pathParameters).filter(([name]) => operation.path.includes(`{${name}}`));
  const ofType = (type: string): ReadonlySet<string> =>
    new Set(Object.keys(properties).filter((name) => properties[name]?.type === type));
  return {
    id,
    operation,
    handle,
    validate: createValidator<unknown>(schema),
    validatePath: createValidator<PathParameters>({
      type: 'object',
      // There is no lease that does not look like one.
      properties: Object.fromEntries(inPath.filter(([name]) => name !== 'lease')),
    }),
    queryTypes: { integers: ofType('integer'), booleans: ofType('boolean'), maps: ofType('object') },
  };
}

/** Methods that are served at a path; undefined: there is nothing. */
export function listMethods(path: string): string | undefined {
  const methods = Object.values(httpOperations)
    .filter((operation) => matchesPath(operation.path, path))
    .flatMap((operation) => (hasHead(operation) ? ['GET', 'HEAD'] : [operation.method]));
  return methods.length === 0 ? undefined : methods.join(', ');
}

/** Whether HEAD is answered, too. A streamed answer has no length that a head could announce. */
export function hasHead({ method, resultType }: HttpOperation): boolean {
  return method === 'GET' && resultType !== 'text/event-stream' && resultType !== 'application/octet-stream';
}

function matchesPath(pattern: string, path: string): boolean {
  const [before = '', after] = pattern.split(/\{\w+\}/);
  if (after === undefined) return path === pattern;
  const rest = path.slice(before.length);
  return path.startsWith(before) && rest !== '' && (pattern.endsWith('{key}') || !rest.includes('/'));
}
