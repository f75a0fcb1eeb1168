import { errorCodes } from './errors.ts';
import { protocolVersion, sessionPath } from './limits.ts';
import { methodSchemas, notificationSchemas } from './schemas.ts';
import type { JsonSchema } from './schemas.ts';

/** The OpenRPC description of the WebSocket side, made from the schemas that requests are checked by. */
export function describeOpenrpc(productVersion: string): JsonSchema {
  return {
    openrpc: '1.3.2',
    info: {
      title: 'slotcast',
      version: productVersion,
      description: `Protocol version ${protocolVersion}: JSON-RPC 2.0 in text frames of a WebSocket on ${sessionPath}.`,
      license: { name: 'Apache-2.0' },
    },
    methods: Object.entries(methodSchemas).map(([name, { summary, params, result }]) => ({
      name,
      summary,
      paramStructure: 'by-name',
      params: describeParams(params),
      result: { name: 'result', schema: result },
      errors: Object.keys(errorCodes).map((code) => ({ $ref: `#/components/errors/${code}` })),
    })),
    components: {
      errors: Object.fromEntries(
        Object.entries(errorCodes).map(([code, { number, meaning }]) => [
          code,
          { code: number, message: meaning, data: { code } },
        ]),
      ),
    },
    'x-notifications': Object.entries(notificationSchemas).map(([name, { summary, params }]) => ({
      name,
      summary,
      params,
    })),
  };
}

function describeParams(schema: JsonSchema): JsonSchema[] {
  const { properties, required } = schema as { properties: Record<string, JsonSchema>; required: readonly string[] };
  return Object.entries(properties).map(([name, property]) => ({
    name,
    required: required.includes(name),
    schema: property,
  }));
}
